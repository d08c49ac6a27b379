"""The Lambda functions of the Athena query step: executor, checker and canceller, and what they share."""
