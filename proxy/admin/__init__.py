"""What operators and people may do: one use case a function, each with its audit record.

Every use case takes a Desk (desk.py) first, and, where it changes something, the Actor who asks.
It returns plain data and raises desk.Refusal with a sentence for people.
"""
