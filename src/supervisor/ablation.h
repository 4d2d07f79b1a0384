/* A test build's --without=LAYER[,LAYER]: layers that are left out, in the template and in each run, so that
 * tests/escape can measure what the others hold. Compiled only with meson's -Dablation=true; nothing of it is in any
 * other build. */
#ifndef SAFE_SCRIPT_ABLATION_H
#define SAFE_SCRIPT_ABLATION_H

#include "settings.h"

/* Takes --without=… out of rest and returns the set for jail_plan.without (LAYER_BIT; WALL_FRONT for "front"). An
 * unknown name ends the process with status 2. */
uint32_t ablation_take(struct rest *rest);

#endif
