"""Which classes of an exposure set show what a data set shows too, so that they can be left out of the exposure.

Read off the class names, in doubt as overlapping. Where two data sets are not listed here nobody has compared them; an
empty list says that they have no class in common.
"""

from .imagenet import THIRTY

# ImageNet-1k by what VOC and CIFAR-10 call it; a-b is a range of WordNet ids, all of the kind
IMAGENET = {
    "airplane": "n02690373 n04552348 n04592741 n04266014 n04008634 n03773504 n02692877",
    "bicycle": "n02835271 n03792782 n04482393",
    "bird": "n01514668-n01622779 n01795545-n01860187 n02002556-n02058221",
    "bottle": "n02823428 n03937543 n03983396 n04557648 n04591713 n04560804 n04579145",
    "bus": "n03769881 n04146614 n04487081",
    "car": "n02701002 n02814533 n02930766 n03100240 n03594945 n03670208 n03770679 n03777568 n03977966 n04037443 "
    "n04285008 n03444034 n03445924 n03459775 n02974003 n02965783 n04065272",
    "cat": "n02123045-n02130308",  # the big cats with them
    "chair": "n02791124 n03376595 n04099969 n04429376",
    "cow": "n02403003 n02408429 n02410509 n03868242",
    "deer": "n02422106 n02422699 n02423022 n02417914",  # ImageNet-1k has antelopes and ibex only
    "dog": "n02085620-n02116738",  # with wolves, dingo and dhole
    "frog": "n01641577-n01644900",
    "horse": "n02389026 n02391049 n03538406",  # sorrel, zebra, horse cart
    "motorbike": "n03785016 n03791053",
    "person": "n09835506 n10148035 n10565667",
    "plant": "n03991062",
    "sheep": "n02412080 n02415577",
    "ship": "n02687172 n02951358 n02981792 n03095699 n03344393 n03447447 n03662601 n03673027 n03947888 n04147183 "
    "n04273569 n04347754 n04483307 n04606251 n04612504",
    "sofa": "n04344873",
    "table": "n03201208",
    "train": "n02917067 n03272562 n03393912 n03895866 n04310018 n04335435",
    "truck": "n03345487 n03417042 n03478589 n03796401 n03930630 n04252225 n04461696 n04467665 n04465501",
    "tv": "n03782006 n04152593 n04404412 n03180011 n03642806 n03529860 n03290653",
}
CIFAR10 = "airplane bird bus car cat deer dog frog horse ship train truck"  # strictly: with bus and train
VOC = (
    "airplane bicycle bird bottle bus car cat chair cow dog horse motorbike person plant sheep ship sofa table train tv"
)
CLOTHES = """
n02667093 n02669723 n02730930 n02769748 n02837789 n02892767 n02916936 n02963159 n03026506 n03045698 n03047690 n03124043
n03404251 n03450230 n03534580 n03594734 n03595614 n03617480 n03630383 n03680355 n03709823 n03710637 n03710721 n03763968
n03770439 n03866082 n03877472 n03980874 n04026417 n04120489 n04133789 n04136333 n04200800 n04254777 n04325704 n04350905
n04370456 n04371430 n04479046 n04532106 n02883205 n04591157 n10148035
"""  # clothes, shoes and bags; ties, which are shown on shirts; groom

TINY_CIFAR10 = """
n02085620 n02094433 n02099601 n02099712 n02106662 n02113799 n02123045 n02123394 n02124075 n01855672 n02002724 n02056570
n02058221 n01641577 n01644900 n02814533 n03100240 n03670208 n04285008 n03977966 n03796401 n03447447 n03662601
n02423022 n02125311 n02129165 n04146614 n04487081 n04465501 n03393912 n04008634
"""  # last row, strictly: gazelle, big cats, bus, trolleybus, tractor, freight car, missile
TINY_CLOTHES = """
n03404251 n03617480 n03770439 n02963159 n04133789 n02669723 n02730930 n02837789 n02769748 n04254777 n04371430 n04532106
n03980874 n03763968
"""


def _of(kinds: str) -> str:
    return " ".join(IMAGENET[kind] for kind in kinds.split())


OVERLAPS = {
    "tiny-imagenet": {"cifar10": TINY_CIFAR10, "fashion-mnist": TINY_CLOTHES, "mnist": ""},
    "imagenet": {
        "cifar10": _of(CIFAR10),
        "voc": _of(VOC),
        "fashion-mnist": CLOTHES,
        "imagenet-30": " ".join(THIRTY.values()),
        "mnist": "",
    },
    # CIFAR-100 was made without CIFAR-10's classes (Krizhevsky 2009: no image of its truck is a pickup truck), and
    # Liznerski et al. 2021 take all 100 of them, bus and pickup_truck too. Neither set has a class of clothes.
    "cifar100": {"cifar10": "", "fashion-mnist": "", "mnist": ""},
    "cifar10": {"cifar100": "", "fashion-mnist": "", "mnist": ""},
    "emnist-letters": {"mnist": "", "fashion-mnist": ""},  # o, i and l look like digits, but are none
    "notmnist": {"mnist": "", "fashion-mnist": ""},
    "omniglot": {"mnist": "", "fashion-mnist": ""},
    "mnist": {"fashion-mnist": "", "cifar10": "", "notmnist": "", "omniglot": "", "emnist-letters": ""},
    "fashion-mnist": {"mnist": "", "cifar10": "", "cifar100": "", "notmnist": "", "omniglot": "", "emnist-letters": ""},
}


def overlapping(exposure: str, data: str, classes) -> list[str]:
    """The classes of the data set ``exposure`` that overlap with the data set ``data``.

    Raises ValueError if the two have not been compared.
    """
    exposure, data = (name.removesuffix("-small") for name in (exposure, data))
    if data == exposure:
        return list(classes)
    if data not in (known := OVERLAPS.get(exposure, {})):
        raise ValueError(
            f"which classes of {exposure} overlap with {data} is not known (known: {', '.join(known) or 'none'}); "
            "name the classes to leave out"
        )
    return within(known[data], classes)


def within(listed: str, classes) -> list[str]:
    """The classes that are listed, or lie in a range that is."""
    spans = [(item.split("-")[0], item.split("-")[-1]) for item in listed.split()]
    return [name for name in classes if any(first <= name <= last for first, last in spans)]
