"""Which files the dialogs offer as datasets."""

from studio.datasets.suffixes import ARCHIVES, SUPPORTED

DATA_FILES = f"Datasets ({' '.join(f'*{suffix}' for suffix in (*SUPPORTED, *ARCHIVES, '.gz'))});;All files (*)"
