"""What a snapshot costs: of logs of several sizes, beside merely copying their rows to parquet."""
