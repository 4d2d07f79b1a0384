/* A test build's --without=LAYER[,LAYER]: layers that are left out, in the template and in each run, so that
 * tests/escape can measure what the others hold; and --without-call=ROW: one that lets a system call through, by its
 * name, or name and condition as `safe-script policy` has them ("fcntl argument 1 is 0x406"). Compiled only with
 * meson's -Dablation=true; nothing of it is in any other build. */
#ifndef SAFE_SCRIPT_ABLATION_H
#define SAFE_SCRIPT_ABLATION_H

#include "jail.h"
#include "settings.h"

/* Takes the options out of rest and fills plan->without (layers, "front", "facts") and plan->without_row. What names
 * no layer or row ends the process with status 2. */
void ablation_take(struct rest *rest, struct jail_plan *plan);

#endif
