"""The only door for plugins: what a method declares and what the host gives it."""

from studio.api.methods import Context
from studio.api.params import Params, ui
from studio.api.sites import Kind, ParamDecl, Site, Traits

API_VERSION = 1

__all__ = ["API_VERSION", "Context", "Kind", "ParamDecl", "Params", "Site", "Traits", "ui"]
