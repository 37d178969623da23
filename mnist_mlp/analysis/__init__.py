"""From runs to statements: what is compared and tuned, how sure the differences are, what to beware of."""
