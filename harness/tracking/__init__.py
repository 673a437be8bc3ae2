"""A study as MLflow shows it, filled beside the study."""
