"""A folder of pictures for scoring, made worse on the fly; PSNR and SSIM of each image and of all.

A config adds the folder and what makes the pictures worse. Pictures are looked for in data/, then in ../shared/data/sr,
seen from where the command is started.
"""

test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="RestorationDataset",
        data_root=["data", "../shared/data/sr"],
        scale=1,
        test_mode=True,
    ),
)
test_evaluator = [dict(type=metric) for metric in ("PSNR", "SSIM")]
