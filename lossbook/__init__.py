"""lossbook: losses for classification, written to be read.

The public names stand in `__init__.pyi`; each is imported when it is first used, so
that `import lossbook` costs next to nothing and loads no torch.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
__version__ = "0.1.0"
