/* A test build's front with its own walls, or the supervisor's facts, left out: what a trusting server would make of a
 * run, so that tests/escape can show that a forgery works on one. Nothing of it is in any other build. */
#ifndef SAFE_SCRIPT_BELIEVE_H
#define SAFE_SCRIPT_BELIEVE_H

#include "report.h"
#include "run.h"

/* `without` as jail_plan's. Without WALL_FRONT whatever stands in a result frame is the result, and no report is an
 * empty one. Without WALL_FACTS the report is the only word on how the run ended. */
void believe(uint32_t without, struct span bytes, struct report *report, struct facts *facts);

#endif
