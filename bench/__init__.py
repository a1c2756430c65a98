"""What the door costs and how fast it answers, beside its peers, on the machine at hand.

`python -m bench [PART]...` measures; without a PART everything, and then bench/results is
written. Only loopback is used, every loop is bounded, and only own processes are ended.
"""
