/* For who is asleep most of the time and wanted at once when it wakes: the supervisor, the starter, the front, a run
 * that waits for its script.
 *
 * A process that asks for short turns (sched(7), the slice of Linux 6.12) interrupts one that is in the middle of a
 * long one, as a run is while the kernel tears it down, instead of waiting for its end. It gets no more time than it
 * would have had, and no privilege is needed. */
#ifndef SAFE_SCRIPT_TURNS_H
#define SAFE_SCRIPT_TURNS_H

/* Asks; kernels that know no such thing go on as before. Processes that are forked later are as usual. */
void take_short_turns(void);

#endif
