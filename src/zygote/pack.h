/* The zygote's memory in few large pieces. What a clone shares with its zygote is counted for each piece of physical
 * memory: pages that lie in one (a large folio) cost the kernel a fifth of what as many single ones do, at the clone
 * and at its end. */
#ifndef SAFE_SCRIPT_PACK_H
#define SAFE_SCRIPT_PACK_H

/* Moves what this process has written to, and the program text that fills huge pages, into large folios, each to where
 * it was. For a process with one thread, when its memory is as its clones shall find it. `proc` is a descriptor of
 * /proc. Cannot fail: what cannot be moved (no huge pages, no /proc, a policy against memory that is written and then
 * run) stays as it was. (Where the kernel has no memory for its own account of a move, it has unmapped the place
 * already: then the process dies, and another is begun.) */
void pack(int proc);

#endif
