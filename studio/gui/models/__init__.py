"""Item models: tables that views show, fed by results of background tasks."""
