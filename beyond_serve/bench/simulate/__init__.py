"""The real batcher under virtual time: what a policy does in hours of load, in seconds.

clock, instance, decoders   time, and what takes it: emulated accelerators and decoding workers
arrivals                    when requests come, open and closed
scenario                    what is simulated, checked once
simulation                  one run: the server's own queue, stage, batcher and entrance, put together
record, outcome             what became of each request and batch, in arrays
result                      the figures of a run
questions                   the figures that were asked of the policies, measured
multi_gpu                   Beyond's Fig. 9
"""
