"""Icon sources in a colour, as bytes and as files."""

from studio.core.paths import home, resource


def svg_source(name: str, color: str) -> bytes:
    """``resources/icons/NAME.svg`` drawn in ``color``."""
    return resource(f"icons/{name}.svg").read_bytes().replace(b"#000000", color.encode())


def svg_file(name: str, color: str) -> str:
    """A tinted copy on disk, for style sheets, which take files only; forward slashes on every platform."""
    path = home().cache / "icons" / f"{name}-{color.lstrip('#')}.svg"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(svg_source(name, color))
    return path.as_posix()
