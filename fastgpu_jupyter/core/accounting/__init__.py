"""Usage, money and shares: meter, ledger, budgets, reservations, fair share, calendar."""
