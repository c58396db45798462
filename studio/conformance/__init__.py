"""The conformance kit: what every PET method must hold, checked on tiny random models of five families."""
