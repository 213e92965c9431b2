"""The Redux half: records, sessions, the machine that entries fold into, and the leader's turn."""
