"""The only door for plugins: what a method declares and what the host gives it."""

from studio.api.methods import Context, LowRank, Place, Setup, Step, Tokens
from studio.api.params import Params, ui
from studio.api.sites import Kind, ParamDecl, Site, Traits
from studio.api.sizing import count_over, fit_field, largest

API_VERSION = 1

__all__ = [
    "API_VERSION",
    "Context",
    "Kind",
    "LowRank",
    "ParamDecl",
    "Params",
    "Place",
    "Setup",
    "Site",
    "Step",
    "Tokens",
    "Traits",
    "count_over",
    "fit_field",
    "largest",
    "ui",
]
