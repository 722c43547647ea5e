"""Networks in other precisions than float32."""
