"""The few rules that a palette cannot express, generated from the tokens."""

from string import Template

from studio.gui.svg import svg_file
from studio.gui.tokens import Tokens

_RULES = Template("""
* { outline: none; }
QToolTip { color: $text; background: $raised; border: 1px solid $line; padding: 4px 8px; }
QWidget#rail { background: $sunken; border-right: 1px solid $line; }
QFrame[role="card"] { background: $surface; border: 1px solid $line; border-radius: 8px; }
QFrame[role="panel"] { background: $surface; border: none; border-left: 1px solid $line; }
QFrame[role="line"] { background: $line; border: none; max-height: 1px; min-height: 1px; }
QLabel[role="muted"] { color: $muted; }
QLabel[role="error"] { color: $doesnotfit; }
QLabel[role="accent"] { color: $accent; }
QLabel[role="tag"] {
    color: $muted; background: $sunken; border: 1px solid $line; border-radius: 6px; padding: 1px 7px; }

QPushButton, QToolButton[role="plain"] {
    color: $text; background: $surface; border: 1px solid $outline; border-radius: 6px; padding: 5px 12px; }
QPushButton:hover { background: $hover; }
QPushButton:pressed { background: $selected; }
QPushButton:focus { border: 2px solid $accent; padding: 4px 11px; }
QPushButton:disabled { color: $outline; border-color: $line; background: $background; }
QPushButton[role="primary"] {
    color: $on_accent; background: $accent; border: 1px solid $accent; padding: 7px 20px; font-weight: 600; }
QPushButton[role="primary"]:hover { background: $accent_hover; }
QPushButton[role="primary"]:focus { border: 2px solid $text; padding: 6px 19px; }
QPushButton[role="primary"]:disabled { color: $muted; background: $hover; border-color: $line; }
QPushButton[role="quiet"] { background: transparent; border: 1px solid transparent; text-align: left; }
QPushButton[role="quiet"]:hover { background: $hover; }
QPushButton[role="quiet"]:focus { border: 2px solid $accent; }
QPushButton[role="fold"] {
    background: transparent; border: 1px solid transparent; padding: 3px 8px 3px 0; text-align: left; }
QPushButton[role="fold"]:hover { color: $accent; }
QPushButton[role="fold"]:focus { border: 2px solid $accent; padding: 2px 7px 2px 0; }
QPushButton[role="link"] {
    color: $accent; background: transparent; border: 1px solid transparent; padding: 3px 8px 3px 0; text-align: left; }
QPushButton[role="link"]:hover { color: $text; }
QPushButton[role="link"]:focus { border: 2px solid $accent; padding: 2px 7px 2px 0; }
QPushButton[role="link"]:disabled { color: $outline; }
QPushButton[role="quiet"]:disabled { background: transparent; border-color: transparent; }
QPushButton[role="danger"] { color: $doesnotfit; border-color: $doesnotfit; }
QToolButton { color: $text; border: 1px solid transparent; border-radius: 6px; padding: 4px; background: transparent; }
QToolButton:hover { background: $hover; }
QToolButton:focus { border: 2px solid $accent; padding: 3px; }
QToolButton[role="rail"] { color: $muted; text-align: left; padding: 7px 12px; }
QToolButton[role="rail"]:hover { background: $hover; color: $text; }
QToolButton[role="rail"]:focus { padding: 6px 11px; }
QToolButton[role="rail"]:checked { color: $text; background: $selected; font-weight: 600; }
QPushButton[role="chip"] {
    color: $muted; background: $surface; border: 1px solid $outline; border-radius: 6px; padding: 2px 8px; }
QPushButton[role="chip"]:hover { color: $text; background: $hover; }
QPushButton[role="chip"]:focus { border: 2px solid $accent; padding: 1px 7px; }
QPushButton[role="chip"]:checked { color: $text; background: $selected; border-color: $accent; font-weight: 600; }
QPushButton[role="picker"] { background: $surface; border: 1px solid $line; border-radius: 8px; padding: 0; }
QPushButton[role="picker"]:hover { border-color: $outline; }
QPushButton[role="picker"]:focus { border: 2px solid $accent; }
QPushButton[role="picker"][problem="true"] { border: 2px solid $doesnotfit; }

QLineEdit, QPlainTextEdit, QTextEdit, QSpinBox, QDoubleSpinBox, QComboBox {
    color: $text; background: $field; border: 1px solid $outline; border-radius: 6px; padding: 4px 8px;
    placeholder-text-color: $muted; selection-background-color: $selected; selection-color: $text; }
QLineEdit:focus, QPlainTextEdit:focus, QTextEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QComboBox:focus {
    border: 2px solid $accent; padding: 3px 7px; }
QLineEdit:disabled, QComboBox:disabled, QSpinBox:disabled { color: $outline; border-color: $line; }
QLineEdit[problem="true"], QPlainTextEdit[problem="true"], QComboBox[problem="true"] { border: 2px solid $doesnotfit;
    padding: 3px 7px; }
QComboBox { padding-right: 24px; }
QComboBox::drop-down { border: none; width: 24px; }
QComboBox::down-arrow { image: url("$chevron"); width: 14px; height: 14px; }
QComboBox QAbstractItemView { background: $raised; border: 1px solid $line; padding: 4px; outline: none; }

QAbstractItemView { background: $surface; border: 1px solid $line; border-radius: 8px; outline: none; }
QAbstractItemView::item { padding: 4px 8px; border: none; }
QAbstractItemView::item:hover { background: $hover; }
QAbstractItemView::item:selected { background: $selected; color: $text; }
QAbstractItemView:focus { border: 1px solid $accent; }
QHeaderView { border: none; border-radius: 0; }
QHeaderView::section { color: $muted; background: $surface; border: none; border-bottom: 1px solid $line;
    padding: 6px 8px; font-weight: 600; }
QTableCornerButton::section { background: $surface; border: none; }

QTabBar { qproperty-drawBase: 0; }
QTabWidget::pane { border: none; border-top: 1px solid $line; }
QTabBar::tab { color: $muted; background: transparent; padding: 8px 12px; border: none;
    border-bottom: 2px solid transparent; }
QTabBar::tab:hover { color: $text; }
QTabBar::tab:selected { color: $text; border-bottom: 2px solid $accent; }
QTabBar::tab:focus { color: $accent; }

QProgressBar { background: $hover; border: none; border-radius: 4px; max-height: 8px; min-height: 8px; }
QProgressBar::chunk { background: $accent; border-radius: 4px; }
QScrollArea { background: transparent; border: none; }
QScrollArea > QWidget > QWidget#scrolled { background: transparent; }
QScrollBar:vertical { background: transparent; width: 12px; margin: 0; }
QScrollBar:horizontal { background: transparent; height: 12px; margin: 0; }
QScrollBar::handle { background: $handle; border-radius: 4px; margin: 2px; }
QScrollBar::handle:vertical { min-height: 32px; }
QScrollBar::handle:horizontal { min-width: 32px; }
QScrollBar::handle:hover { background: $outline; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
QSplitter::handle { background: $line; }
QSplitter::handle:horizontal { width: 1px; }
QSplitter::handle:vertical { height: 1px; }
QMenuBar { background: $background; border-bottom: 1px solid $line; padding: 2px 4px; }
QMenuBar::item { padding: 4px 8px; border-radius: 4px; background: transparent; }
QMenuBar::item:selected { background: $hover; }
QMenu { background: $raised; border: 1px solid $line; padding: 4px; }
QMenu::item { padding: 5px 24px 5px 12px; border-radius: 4px; }
QMenu::item:selected { background: $selected; }
QMenu::item:disabled { color: $outline; }
QMenu::separator { height: 1px; background: $line; margin: 4px 8px; }
QStatusBar { background: $background; border-top: 1px solid $line; color: $muted; }
QStatusBar::item { border: none; }
QSlider:focus { border: 1px solid $accent; border-radius: 4px; }
QCheckBox, QRadioButton { spacing: 8px; padding: 2px; border: 1px solid transparent; border-radius: 4px; }
QCheckBox::indicator { width: 16px; height: 16px; border: 1px solid $outline; border-radius: 4px; background: $field; }
QCheckBox::indicator:checked { background: $accent; border-color: $accent; image: url("$check"); }
QCheckBox::indicator:disabled { border-color: $line; }
QCheckBox:focus, QRadioButton:focus { border: 1px solid $accent; }
""")


def build_stylesheet(tokens: Tokens) -> str:
    """The application's style sheet."""
    return _RULES.substitute(
        {name: value for name, value in vars(tokens).items() if isinstance(value, str)},
        accent_hover=_mix(tokens.accent, tokens.text, 0.15),
        field=tokens.surface if not tokens.dark else tokens.background,
        handle=_mix(tokens.line, tokens.outline, 0.4),
        check=svg_file("check", tokens.on_accent),
        chevron=svg_file("chevron_down", tokens.muted),
    )


def _mix(one: str, other: str, share: float) -> str:
    channels = [round(int(one[i : i + 2], 16) * (1 - share) + int(other[i : i + 2], 16) * share) for i in (1, 3, 5)]
    return "#" + "".join(f"{value:02x}" for value in channels)
