"""The Settings screen; every change is saved and in force at once."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices

from studio.core.errors import StudioError
from studio.core.facts import DeviceFacts
from studio.core.problems import Problem
from studio.gui.appearance import FONT_SCALES, dress
from studio.gui.screens.base import Screen
from studio.gui.screens.settings.token import TokenField
from studio.gui.tasks import Debounce, run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.editors import CheckEditor, ChoiceEditor, Editor, NumberEditor, TextEditor
from studio.gui.widgets.fields import FieldGrid, FieldRow
from studio.gui.widgets.layout import Card, ScrollColumn, column, row
from studio.gui.widgets.notices import ErrorCard
from studio.gui.widgets.text import Label, muted, title

if TYPE_CHECKING:
    from studio.service.settings import Settings

THEMES = [("system", "Follow the desktop"), ("light", "Light"), ("dark", "Dark")]


class SettingsScreen(Screen):
    """A card per subject; wrong values stay at their field and are not saved."""

    id = "settings"

    def assemble(self) -> Iterator[None]:
        self.settings: Settings = self.backend.load_settings()
        self.rows: dict[str, FieldRow] = {}
        self.error = ErrorCard()
        self._save_soon = Debounce(self, 300, self._save)
        scroll = ScrollColumn()
        for card in (self._appearance, self._energy, self._training, self._network, self._folders):
            scroll.body.addWidget(card())
            yield
        scroll.body.addStretch(1)
        top = column(row(title("Settings"), None), self.error, spacing=2 * GRID)
        top.setContentsMargins(2 * GRID, 2 * GRID, 2 * GRID, 0)
        body = column(top, scroll, spacing=0)
        body.setStretch(1, 1)
        self.setLayout(body)
        self._show()

    def enter(self, argument: Any = None) -> None:
        self.settings = self.backend.load_settings()
        self._show()
        run_task(self, self.backend.devices, done=self._offer_devices)

    def leave(self) -> None:
        if self._save_soon.is_waiting():
            self._save()

    def _appearance(self) -> Card:
        scales = [(scale, f"{scale:.0%}") for scale in FONT_SCALES]
        return self._card(
            "Appearance",
            self._field("theme", "Theme", ChoiceEditor(THEMES)),
            self._field("font_scale", "Text size", ChoiceEditor(scales)),
            self._field("confirm_close", "Ask before closing while a run trains", CheckEditor()),
        )

    def _energy(self) -> Card:
        return self._card(
            "Energy",
            self._field("tariff_per_kwh", "Price of electricity", NumberEditor(whole=False, empty=None),
                        help="Used for the cost of a run.", unit="per kWh"),
            self._field("currency", "Currency", TextEditor(), help="As it stands after an amount, such as EUR."),
            self._field("grid", "Carbon intensity", TextEditor(nullable=True, empty="not counted"),
                        unit="g CO₂ per kWh, or a region",
                        help="Grams of CO₂ per kWh of your supplier, or the name of a region; empty: not counted."),
        )  # fmt: skip

    def _training(self) -> Card:
        self.device = ChoiceEditor([("auto", "Automatic")])
        return self._card("Training", self._field("device", "Device of new runs", self.device))

    def _network(self) -> Card:
        card = self._card(
            "Network",
            self._field("hub_endpoint", "Model hub", TextEditor(empty="the usual hub"),
                        help="Address of a mirror; empty: the usual hub."),
            self._field("starter_wheels", "Folder with the starter pack", TextEditor(empty="none: it is fetched"),
                        help="Files fetched beforehand, for machines without network."),
        )  # fmt: skip
        card.body.insertWidget(0, muted("Nothing is fetched without your asking for it."))
        self.token = TokenField(self.backend)
        self.token.failed.connect(self._fail)
        card.body.addWidget(self.token)
        return card

    def _folders(self) -> Card:
        card = Card("Files")
        home = self.backend.home().root
        place = Label(str(home), role="number", wrap=True)
        words = muted("Models, datasets, runs and the catalog are in this folder. PET_STUDIO_HOME moves it elsewhere.")
        card.body.addWidget(place)
        card.body.addWidget(words)
        card.body.addLayout(row(button("Open folder", self._open_folder, icon="folder"), None))
        return card

    def _card(self, heading: str, *fields: FieldRow) -> Card:
        card = Card(heading)
        card.body.addWidget(FieldGrid(fields))
        return card

    def _field(self, name: str, label: str, editor: Editor, *, help: str = "", unit: str = "") -> FieldRow:
        made = FieldRow(name, label, editor, help=help, unit=unit)
        made.edited.connect(self._edit)
        self.rows[name] = made
        return made

    def _show(self) -> None:
        for name, made in self.rows.items():
            value = getattr(self.settings, name)
            made.set_value(str(value) if name == "grid" and value is not None else value)
            made.set_problem(None)

    def _edit(self, name: str, value: Any) -> None:
        from pydantic import ValidationError

        kind = type(self.settings)
        value = _as_number(value) if name == "grid" else value
        try:
            changed = kind.model_validate({**self.settings.model_dump(), name: value})
        except ValidationError as error:
            self.rows[name].set_problem(Problem(name, str(error.errors()[0]["msg"]), "not saved yet"))
            return
        self.rows[name].set_problem(None)
        self.settings = changed
        if name in ("theme", "font_scale"):
            dress(changed)
        self._save_soon.request()

    def _save(self) -> None:
        self._save_soon.cancel()
        run_task(self, self.backend.save_settings, self.settings, done=lambda _none: self.error.hide(),
                 failed=self._fail)  # fmt: skip

    def _fail(self, error: StudioError) -> None:
        self.error.show_error(error)

    def _offer_devices(self, devices: list[DeviceFacts]) -> None:
        self.device.offer([("auto", "Automatic"), *((device.id, device.name) for device in devices)])
        self.device.set_value(self.settings.device)

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.backend.home().root)))


def _as_number(value: Any) -> Any:
    """The grid is written as a number or as a region's name in one field."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value
