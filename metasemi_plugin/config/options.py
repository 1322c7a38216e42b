"""Every option of a run but for those of algorithms: semilearn's, and this package's own.

semilearn's keep their names, types and defaults (but for OTHER_DEFAULTS); a test compares them with
its get_config. Nothing here imports torch or semilearn: `--help` and a wrong key cost no start-up.
"""

from metasemi_plugin.config.option import (
    ABOVE_ZERO,
    AT_LEAST_1,
    BELOW_1,
    NOT_NEGATIVE,
    SHARE,
    Option,
)

GROUPS: dict[str, list[Option]] = {
    "The run": [
        Option("algorithm", str, "metasemi", "name of the algorithm: see `ls algorithms`"),
        Option("save_dir", str, "./saved_models", "folder of run folders"),
        Option("save_name", str, None, "run folder in save_dir; null: ALGORITHM_FILE_SEED"),
        Option("resume", bool, False, "continue the run in the run folder"),
        Option("overwrite", bool, False, "replace the run folder if it exists"),
        Option("extend", bool, False, "with resume and a larger num_train_iter, train a complete "
               "run on, with a new schedule of the learning rate"),
        Option("seed", int, 1, "of everything that is drawn", NOT_NEGATIVE),
        Option("load_path", str, None, "start from the weights that another run, of this "
               "checkpoint, was evaluated with"),
        Option("init_from", str, None, "start from the model of another run: its run folder, or "
               "model folder; where the classes are others, without its classifier"),
    ],
    "Data": [
        Option("dataset", str, "cifar10", "name of the data set: see `ls datasets`"),
        Option("data_dir", str, "./data", "where the data are, or are downloaded to"),
        Option("num_classes", int, 10, "of the data set", AT_LEAST_1),
        Option("num_labels", int, 400, "labeled images, of all classes together; unless labels is "
               "equal, the number found", AT_LEAST_1),
        Option("labels", str, "equal", "which images of a folder (image_folder) are labeled: equal "
               "(num_labels, the same number of each class; if there are just so many in train/, "
               "all), all (those of train/<class>/), or a CSV file with the columns file and "
               "class, as `predict` writes it"),
        Option("include_lb_to_ulb", bool, True, "labeled images are among the unlabeled ones, too"),
        Option("img_size", int, 32, "height and width of the images, in pixels", AT_LEAST_1),
        Option("channels", int, 3, "of the images: 3 is RGB; with 1 those of a folder become gray; "
               "another number its files (.npy, .tif) must have; a data set of your own has that "
               "of its arrays", AT_LEAST_1),
        Option("crop_ratio", float, 0.875, "weak views move by 1 - crop_ratio of img_size at most, "
               "each way", SHARE),
        Option("protocol", str, "usb", "how cifar10, cifar100, svhn and stl10 are split and "
               "augmented: usb (as semilearn does, no validation images) or paper (Appendix D; "
               "num_val images are held out)", ("usb", "paper")),
        Option("flip", bool, True, "mirror images left and right at random; false where a mirrored "
               "image means something else"),
        Option("resize", str, "crop", "how an image of a folder that is not square becomes so: "
               "crop (its edges are cut off), pad (black is added), stretch",
               ("crop", "pad", "stretch")),
        Option("num_val", int, 0, "images of the training set held out, stratified by class, to "
               "choose epochs and settings on; 0 holds out none", NOT_NEGATIVE),
        Option("label_folds", int, 0, "k of a k-fold cross-validation on the labeled images; 0: no "
               "cross-validation", NOT_NEGATIVE),
        Option("label_fold", int, 0, "the fold, 0 to label_folds - 1, that is evaluated on and "
               "left out of the training", NOT_NEGATIVE),
        Option("lb_imb_ratio", int, 1, "long-tailed labels: the largest class has num_labels, the "
               "smallest that divided by this; negative: the other way round; 1: all alike"),
        Option("ulb_num_labels", int, None, "unlabeled images of all classes together, or of the "
               "largest class with ulb_imb_ratio; null: all there are", AT_LEAST_1),
        Option("ulb_imb_ratio", int, 1, "long-tailed unlabeled images, as lb_imb_ratio"),
        Option("num_workers", int, 0, "loader processes; 0 loads in the training process, which is "
               "fastest for batches of tensors: to receive one costs as much as to make it. Try 2 "
               "where PIL augments (strong views, the host's own data sets) and cores are free",
               NOT_NEGATIVE),
    ],
    "Net": [
        Option("net", str, "wrn_28_2", "backbone: see `ls backbones`, or timm/NAME, or "
               "PACKAGE.MODULE:FUNCTION"),
        Option("net_args", dict, {}, "keyword arguments for the backbone's builder, e.g. "
               "{width: 64, dropout: 0.5, noise: 0.15, init: he}; files of a `base:` list add up "
               "key by key"),
        Option("use_pretrain", bool, False, "begin with pretrained weights, not the classifier's"),
        Option("pretrain_path", str, "", "file or address of the pretrained weights"),
        Option("bn_momentum", float, None, "momentum of BatchNorm's running statistics; null keeps "
               "the backbone's own (the host's WRN has 0.001, too slow for runs of a few thousand "
               "iterations: use 0.1 there)", SHARE),
        Option("channels_last", str, "auto", "memory format NHWC, in which most convolutions are "
               "faster: auto (on where the backbone has 2-D convolutions), true, false",
               ("auto", "true", "false")),
    ],
    "Training": [
        Option("num_train_iter", int, 20, "iterations of the training", AT_LEAST_1),
        Option("epoch", int, 1, "epochs that semilearn divides the iterations into", AT_LEAST_1),
        Option("batch_size", int, 8, "labeled images a batch, B", AT_LEAST_1),
        Option("uratio", int, 1, "unlabeled images a batch, U = uratio * B", AT_LEAST_1),
        Option("optim", str, "SGD", "optimizer", ("SGD", "Adam", "AdamW")),
        Option("lr", float, 0.03, "learning rate at the beginning", ABOVE_ZERO),
        Option("momentum", float, 0.9, "of SGD, or Adam's first beta", BELOW_1),
        Option("nesterov", bool, True, "Nesterov momentum (SGD)"),
        Option("weight_decay", float, 5e-4, "but for BatchNorm's parameters and biases",
               NOT_NEGATIVE),
        Option("layer_decay", float, 1.0, "of the learning rate from layer to layer downwards (of "
               "nets that name their layers); 1: none", SHARE),
        Option("scheduler", str, "cosine", "cosine (the host's, 7/16 of a period), half_cosine (to "
               "zero), constant", ("cosine", "half_cosine", "constant")),
        Option("lr_restarts", str, "", "iterations at which the schedule begins anew, as 600,1200 "
               "(`--extend` adds one); options that are shares of the training are shares of its "
               "part before the first"),
        Option("num_warmup_iter", int, 0, "iterations in which the learning rate rises from 0",
               NOT_NEGATIVE),
        Option("clip_grad", float, 0, "largest norm of the gradient; 0: any", NOT_NEGATIVE),
        Option("ulb_loss_ratio", float, 1.0, "weight of the unsupervised loss", NOT_NEGATIVE),
        Option("sigmoid_ramp", bool, False, "algorithms of the host with unsup_warm_up, and "
               "fast_swa: the weight rises as exp(-5(1-t)^2), as in the code of their authors, and "
               "not linearly"),
        Option("use_cat", bool, True, "algorithms of the host: labeled and unlabeled images in one "
               "pass"),
        Option("amp", bool, False, "mixed precision, on CPU and CUDA, for every algorithm"),
        Option("amp_dtype", str, "float16", "what amp: true computes in: float16 (with loss "
               "scaling) or bfloat16", ("float16", "bfloat16")),
        Option("tf32", bool, False, "on a CUDA GPU: round to TF32 (10 bits) what convolutions and "
               "matrix products of fp32 multiply; faster, and no longer exact"),
        Option("max_bad_steps", int, 10, "consecutive steps with a NaN or infinite loss or "
               "gradient after which the run stops; fewer are skipped and counted", AT_LEAST_1),
    ],
    "Average and evaluation": [
        Option("num_eval_iter", int, 10, "iterations between evaluations", AT_LEAST_1),
        Option("eval_batch_size", int, 16, "images a batch; changes no result", AT_LEAST_1),
        Option("ema_m", float, 0.999, "decay of the average of the parameters, which teaches and "
               "is evaluated", BELOW_1),
        Option("ema_warmup", bool, False, "decay of the parameter average min(1 - 1 / (t + 1), "
               "ema_m) after t iterations, as in Mean Teacher's and ICT's code; false: ema_m from "
               "the start, as in the host"),
        Option("bn_statistics", str, "auto", "BatchNorm statistics of the evaluated average: "
               "teacher (its own passes over clean unlabeled images move them), precise "
               "(recomputed before an evaluation, on bn_batches batches), student (the trained "
               "net's, as in the host); auto: teacher where the algorithm makes such passes, else "
               "precise", ("auto", "teacher", "precise", "student")),
        Option("bn_batches", int, 16, "weakly augmented training batches that bn_statistics "
               "precise takes: of unlabeled images if the algorithm sees any, else of labeled ones",
               AT_LEAST_1),
    ],
    "Saving and watching": [
        Option("num_log_iter", int, 5, "iterations between lines of the log and points of curves",
               AT_LEAST_1),
        Option("num_save_iter", int, None, "save a checkpoint every so many iterations; null: with "
               "each evaluation, unless save_minutes is set", AT_LEAST_1),
        Option("save_minutes", float, None, "save a checkpoint every so many minutes; null: see "
               "num_save_iter", ABOVE_ZERO),
        Option("use_tensorboard", bool, True, "write TensorBoard curves into the run folder"),
        Option("use_wandb", bool, False, "log to Weights & Biases"),
        Option("use_aim", bool, False, "log to aim"),
    ],
    "Device and processes": [
        Option("device", str, "auto", "auto (CUDA if there is one, else CPU), cpu, cuda, cuda:N, "
               "mps"),
        Option("compile", str, "auto", "on a CUDA GPU: auto (each iteration is captured as one "
               "graph, where the algorithm allows it), off; changes no number",
               ("auto", "off")),
        Option("multiprocessing_distributed", bool, False, "start one process for each GPU of this "
               "machine, or world_size of them where there is none"),
        Option("world_size", int, 1, "processes to start; with torchrun it is counted"),
        Option("distributed", bool, False, "set where several processes train"),
        Option("sync_bn", bool, False, "with several processes: BatchNorm takes the statistics of "
               "a batch over all of them, as one process would, instead of over each one's own "
               "images"),
        Option("mixup_partners", str, "batch", "with several processes, where MixUp of this "
               "package's algorithms takes partners from: batch (that of all processes: the "
               "numbers do not depend on how many there are), or rank (a process's own part of it: "
               "no messages); semilearn's algorithms have rank always", ("batch", "rank")),
    ],
    # Nothing reads them: they may not be set to anything but semilearn's default.
    "semilearn's, not used here": [
        Option("train_sampler", str, "RandomSampler",
               "seed and iteration choose the images of a batch"),
        Option("net_from_name", bool, False, "set net to timm/NAME"),
        Option("imb_algorithm", str, None, "imbalanced algorithms are not supported here"),
        Option("gpu", int, None, "set device to cuda:N"),
        Option("rank", int, 0, "torchrun counts the processes"),
        Option("dist_url", str, "tcp://127.0.0.1:11111",
               "torchrun tells the processes where to meet"),
        Option("dist_backend", str, "nccl",
               "NCCL between GPUs and gloo between CPUs are chosen by themselves"),
        Option("max_length", int, 512, "text is not supported here"),
        Option("max_length_seconds", float, 4.0, "sound is not supported here"),
        Option("sample_rate", int, 16000, "sound is not supported here"),
    ],
}  # fmt: skip
*_, _last = GROUPS.values()
NOT_HERE = {option.name: option for option in _last}
OPTIONS = {option.name: option for group in GROUPS.values() for option in group}
# Those of semilearn's options whose default is another one here.
OTHER_DEFAULTS = ("algorithm", "num_workers", "overwrite", "save_name", "use_tensorboard")
# Where a run is and how it is watched and fed: nothing that its results depend on.
NEUTRAL = (
    "save_dir", "save_name", "data_dir", "use_tensorboard", "num_workers", "num_log_iter",
    "num_save_iter", "save_minutes", "max_bad_steps", "device", "compile", "gpu",
    "multiprocessing_distributed", "world_size", "rank", "distributed", "dist_url", "dist_backend",
)  # fmt: skip
