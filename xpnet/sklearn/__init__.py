"""scikit-learn estimators (extra `sklearn`): `from xpnet.sklearn import XPNetClassifier, XPNetRegressor`."""

try:
    import sklearn as _sklearn  # noqa: F401  the package of that name, not this one
except ImportError:
    raise ImportError('xpnet.sklearn needs scikit-learn: pip install "xpnet[sklearn]"') from None

from xpnet.sklearn.classifier import XPNetClassifier
from xpnet.sklearn.regressor import XPNetRegressor

__all__ = ["XPNetClassifier", "XPNetRegressor"]
