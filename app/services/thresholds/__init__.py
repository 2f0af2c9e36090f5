"""Spending thresholds that are crossed."""
