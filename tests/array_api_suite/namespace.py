"""`xpnet.array_api` on the backend that the command names, for the suite to import."""

import os
import sys

import xpnet

xpnet.set_backend(os.environ.get("XPNET_ARRAY_API_BACKEND", "numpy"))
sys.modules[__name__] = xpnet.array_api
