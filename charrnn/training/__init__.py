"""The one training loop: optimizer, schedule, budget, exact resume, metrics log.

A run's folder (`training/` in a model directory) holds:

    run.json              settings of the run
    state.safetensors     everything that advances, after the last saved step
    metrics.jsonl         one line a measurement
"""
