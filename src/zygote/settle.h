/* What each clone would do first, done once for all of them: a page that a clone writes to is one that it must copy,
 * and copies are most of what a run costs. */
#ifndef SAFE_SCRIPT_SETTLE_H
#define SAFE_SCRIPT_SETTLE_H

/* In the zygote, when all is warm, before the first clone. Cannot fail: what it does not reach only costs time. */
void settle(void);

#endif
