"""What the export edits, as semilearn's files have it, and no more."""

SKELETON = {
    "semilearn/core/utils/registry.py": """\
ALL_MODULES = [
    ('semilearn.algorithms', ['meanteacher',
                              'mixmatch', 'pimodel', 'pseudolabel', 'remixmatch']),
]
""",
    "semilearn/datasets/cv_datasets/datasetbase.py": """\
def views(self, idx, img_w):
    if self.alg == 'supervised':
        return {}
    elif self.alg == 'pseudolabel' or self.alg == 'vat':
        return {'idx_ulb': idx, 'x_ulb_w':img_w} \n\
    return None
""",
    "semilearn/nets/__init__.py": "from .wrn import wrn_28_2, wrn_28_8, wrn_var_37_2\n",
    "semilearn/algorithms/meanteacher/meanteacher.py": """\
            logits_x_ulb_s = outs_x_ulb_w['logits']
            feats_x_ulb_s = outs_x_ulb_w['feat']
""",
    "semilearn/core/utils/misc.py": """\
import ruamel.yaml as yaml

def over_write_args_from_file(args, yml):
    with open(yml, 'r', encoding='utf-8') as f:
        dic = yaml.load(f.read(), Loader=yaml.Loader)
        for k in dic:
            setattr(args, k, dic[k])
""",
    "semilearn/lighting/trainer.py": """\
        self.algorithm.model.train()

        # EMA Init
        self.algorithm.ema = EMA(self.algorithm.model, self.algorithm.ema_m)
        self.algorithm.ema.register()

        # train
        self.algorithm.best_epoch = 0

            for data_lb, data_ulb in zip(train_lb_loader, train_ulb_loader):
                result = self.algorithm.train_step(\
**self.algorithm.process_batch(**data_lb, **data_ulb))

            bar.finish()
""",
    "setup.py": "",
    "README.md": "# USB\n\n## News and Updates\n\n- [03/16/2024] Add others.\n",
    "CHANGE_LOG.md": "# Change Log\n\n* Something.\n",
    "docs/algorithm_zoo.md": "17. [DeFixMatch] (https://arxiv.org/abs/2203.07512)",
    "docs/reference.md": "[32] Schmutz, Don't fear the unlabelled: safe semi-supervised learning "
    "via simple debiasing, ICLR, 2023\n",
    "scripts/config_generator_classic_cv.py": """\
import os

def create_classic_config(alg):
    cfg = {"algorithm": alg}
    if alg == "defixmatch":
        cfg["uratio"] = 7

    # cfg['img']
    cfg["multiprocessing_distributed"] = True
    cfg["gpu"] = None

    # other config
    cfg["amp"] = False
    return cfg

if __name__ == "__main__":
    if not os.path.exists("./config/classic_cv/"):
        os.mkdir("./config/classic_cv/")
    algs = [
        "defixmatch",
    ]
    for alg in algs:
        os.mkdir("./config/classic_cv/" + alg)
        with open(f"./config/classic_cv/{alg}/{alg}_0.yaml", "w") as w:
            for k, v in create_classic_config(alg).items():
                w.write(f"{k}: {v}\\n")
""",
}
