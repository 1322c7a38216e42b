/* A CUDA runtime without a GPU, to be preloaded before PyTorch's: device memory is host memory,
   kernels do nothing, and launches, copies and synchronizations are counted. A call that a stream
   capture does not allow is refused as CUDA does. */
#include <stdlib.h>
#include <string.h>
#include "cuda_runtime_api.h"
#undef cudaGetDeviceProperties

enum { LAUNCH, TO_DEVICE, TO_HOST, ON_DEVICE, SYNC, GRAPH, KINDS };
long null_counts[KINDS];
int null_capturing = 0;

#define OK return cudaSuccess
#define NOT_CAPTURED if (null_capturing) return cudaErrorStreamCaptureUnsupported
#define HANDLE(type) *p = (type)malloc(16); OK

/* capture and replay */
cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *c) {
  *c = null_capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone; OK; }
cudaError_t cudaStreamGetCaptureInfo_v2(cudaStream_t s, enum cudaStreamCaptureStatus *c,
    unsigned long long *id, cudaGraph_t *g, const cudaGraphNode_t **d, size_t *n) {
  if (id) *id = 1; if (g) *g = 0; if (d) *d = 0; if (n) *n = 0;
  return cudaStreamIsCapturing(s, c); }
cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode m) {
  null_capturing = 1; OK; }
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *p) {
  null_capturing = 0; HANDLE(cudaGraph_t); }
cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *m) { OK; }
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *p, cudaGraph_t g, unsigned long long f) {
  HANDLE(cudaGraphExec_t); }
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *p, cudaGraph_t g, unsigned long long f) {
  HANDLE(cudaGraphExec_t); }
cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t *n, size_t *k) { *k = 1; OK; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s) { null_counts[GRAPH]++; OK; }
cudaError_t cudaGraphDestroy(cudaGraph_t g) { OK; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g) { OK; }

/* one device */
cudaError_t cudaGetDeviceCount(int *n) { *n = 1; OK; }
cudaError_t cudaGetDevice(int *d) { *d = 0; OK; }
cudaError_t cudaSetDevice(int d) { OK; }
cudaError_t cudaDriverGetVersion(int *v) { *v = 12080; OK; }
cudaError_t cudaRuntimeGetVersion(int *v) { *v = 12080; OK; }
cudaError_t cudaGetLastError(void) { OK; }
cudaError_t cudaPeekAtLastError(void) { OK; }
cudaError_t cudaDeviceGetStreamPriorityRange(int *a, int *b) { *a = 0; *b = -5; OK; }
cudaError_t cudaDeviceCanAccessPeer(int *c, int a, int b) { *c = 0; OK; }
cudaError_t cudaDeviceEnablePeerAccess(int a, unsigned f) { OK; }
cudaError_t cudaDeviceGetPCIBusId(char *s, int n, int d) { strncpy(s, "0000:00:00.0", n); OK; }
cudaError_t cudaDeviceGetAttribute(int *v, enum cudaDeviceAttr a, int d) {
  switch ((int)a) {
    case cudaDevAttrMaxThreadsPerBlock: case cudaDevAttrMaxBlockDimX: case cudaDevAttrMaxBlockDimY:
      *v = 1024; break;
    case cudaDevAttrMaxBlockDimZ: *v = 64; break;
    case cudaDevAttrMaxGridDimX: *v = 2147483647; break;
    case cudaDevAttrMaxGridDimY: case cudaDevAttrMaxGridDimZ: *v = 65535; break;
    case cudaDevAttrMultiProcessorCount: *v = 132; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *v = 2048; break;
    case cudaDevAttrWarpSize: *v = 32; break;
    case cudaDevAttrComputeCapabilityMajor: *v = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *v = 0; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *v = 49152; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *v = 232448; break;
    case cudaDevAttrMaxRegistersPerBlock: *v = 65536; break;
    default: *v = 1; } OK; }
cudaError_t cudaGetDeviceProperties_v2(struct cudaDeviceProp *p, int d) {
  memset(p, 0, sizeof *p); strcpy(p->name, "null GPU");
  p->major = 9; p->totalGlobalMem = 80L << 30; p->multiProcessorCount = 132; p->warpSize = 32;
  p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64; p->maxThreadsPerMultiProcessor = 2048;
  p->maxGridSize[0] = 2147483647; p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->sharedMemPerBlock = 49152; p->sharedMemPerBlockOptin = 232448;
  p->sharedMemPerMultiprocessor = 233472; p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->maxBlocksPerMultiProcessor = 32; p->l2CacheSize = 50 << 20; p->clockRate = 1980000;
  p->textureAlignment = 512; p->unifiedAddressing = p->concurrentKernels = 1; OK; }
cudaError_t cudaMemGetInfo(size_t *f, size_t *t) { *f = *t = 80L << 30; OK; }

/* memory */
cudaError_t cudaMalloc(void **p, size_t n) {
  if (posix_memalign(p, 512, n + 512)) return cudaErrorMemoryAllocation;
  memset(*p, 0, n); OK; }
cudaError_t cudaFree(void *p) { free(p); OK; }
cudaError_t cudaHostAlloc(void **p, size_t n, unsigned f) {
  return posix_memalign(p, 4096, n + 64) ? cudaErrorMemoryAllocation : cudaSuccess; }
cudaError_t cudaFreeHost(void *p) { free(p); OK; }
cudaError_t cudaHostRegister(void *p, size_t n, unsigned f) { OK; }
cudaError_t cudaHostUnregister(void *p) { OK; }
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) {
  memset(a, 0, sizeof *a); a->type = cudaMemoryTypeUnregistered; OK; }
/* What comes back to the host is 1 if it is a byte, a truth value as "is finite", else 0. */
cudaError_t cudaMemcpyAsync(void *d, const void *s, size_t n, enum cudaMemcpyKind k,
                            cudaStream_t st) {
  if (k == cudaMemcpyHostToDevice) { null_counts[TO_DEVICE]++; memcpy(d, s, n); }
  else if (k == cudaMemcpyDeviceToHost) { null_counts[TO_HOST]++; memset(d, n == 1, n); }
  else null_counts[ON_DEVICE]++;
  OK; }
cudaError_t cudaMemcpy(void *d, const void *s, size_t n, enum cudaMemcpyKind k) {
  NOT_CAPTURED; null_counts[SYNC]++; return cudaMemcpyAsync(d, s, n, k, 0); }
cudaError_t cudaMemset(void *d, int v, size_t n) { OK; }
cudaError_t cudaMemsetAsync(void *d, int v, size_t n, cudaStream_t s) {
  null_counts[LAUNCH]++; OK; }

/* streams and events */
cudaError_t cudaDeviceSynchronize(void) { NOT_CAPTURED; null_counts[SYNC]++; OK; }
cudaError_t cudaStreamSynchronize(cudaStream_t s) { NOT_CAPTURED; null_counts[SYNC]++; OK; }
cudaError_t cudaStreamQuery(cudaStream_t s) { OK; }
cudaError_t cudaStreamCreate(cudaStream_t *p) { HANDLE(cudaStream_t); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *p, unsigned f, int i) {
  HANDLE(cudaStream_t); }
cudaError_t cudaStreamDestroy(cudaStream_t s) { OK; }
cudaError_t cudaStreamGetPriority(cudaStream_t s, int *p) { *p = 0; OK; }
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned f) { OK; }
cudaError_t cudaEventCreate(cudaEvent_t *p) { HANDLE(cudaEvent_t); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *p, unsigned f) { HANDLE(cudaEvent_t); }
cudaError_t cudaEventDestroy(cudaEvent_t e) { free(e); OK; }
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) { OK; }
cudaError_t cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned f) { OK; }
cudaError_t cudaEventQuery(cudaEvent_t e) { OK; }
cudaError_t cudaEventSynchronize(cudaEvent_t e) { NOT_CAPTURED; null_counts[SYNC]++; OK; }
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b) { *ms = 0; OK; }

/* kernels */
cudaError_t cudaLaunchKernel(const void *f, dim3 g, dim3 b, void **a, size_t n, cudaStream_t s) {
  null_counts[LAUNCH]++; OK; }
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *f, void **a) {
  null_counts[LAUNCH]++; OK; }
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *f) {
  memset(a, 0, sizeof *a); a->maxThreadsPerBlock = 1024; a->numRegs = 32;
  a->ptxVersion = a->binaryVersion = 90; a->maxDynamicSharedSizeBytes = 49152; OK; }
cudaError_t cudaFuncSetAttribute(const void *f, enum cudaFuncAttribute a, int v) { OK; }
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    int *n, const void *f, int b, size_t s, unsigned fl) { *n = 2; OK; }
static __thread struct { dim3 grid, block; size_t shared; void *stream; } calls[16];
static __thread int depth = 0;
unsigned __cudaPushCallConfiguration(dim3 g, dim3 b, size_t n, void *s) {
  calls[depth].grid = g; calls[depth].block = b; calls[depth].shared = n;
  calls[depth++].stream = s; return 0; }
cudaError_t __cudaPopCallConfiguration(dim3 *g, dim3 *b, size_t *n, void *s) {
  depth--; *g = calls[depth].grid; *b = calls[depth].block; *n = calls[depth].shared;
  *(void **)s = calls[depth].stream; OK; }
