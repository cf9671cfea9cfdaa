"""What is different inside a network when it memorises: norms and margins, kernels, layers, transfer, valleys, sharpness.

    python -m experiments.inside                  about 8 minutes on two cores
    python -m experiments.inside scale=quick      about a minute: the pipeline, not the finding
    python -m experiments.inside scale=reference  three hours (estimated): up to all images, width 512

Networks on true and on random labels of 1,000 to 10,000 images: norms and margins at equal training loss (Bartlett et al. 2017,
Neyshabur et al. 2017); the tangent kernel at the start, and the training that it stands for, beside the measured times (Arora et al.
2019); layers rewound and retrained (Stephenson et al. 2021, Maini et al. 2023); networks pre-trained with random labels on other images
(Maennel et al. 2020); copies of a network that part (Frankle et al. 2020) and curves between networks (Garipov et al. 2018); and full-batch
gradient descent at the edge of stability (Cohen et al. 2021).

Expected from the sources: with random labels the product of spectral norms is several times as large and margins per complexity are smaller; labels lie
outside of the kernel's leading eigenvectors.
"""
