/* What holds on this machine, in words: for `doctor`, /v1/jail, the terminal and the log. */
#ifndef SAFE_SCRIPT_DESCRIBE_H
#define SAFE_SCRIPT_DESCRIBE_H

#include "frames.h"
#include "interpreter.h"
#include "jail.h"

#include <stdio.h>

/* One line per layer, then the weakest class of attack if there is one below `walls`. */
void describe_text(FILE *out, const struct jail_plan *plan, const struct layer_report *reports, unsigned walls);

/* The body of GET /v1/jail and of `doctor --json`. */
void describe_json(struct buffer *out, const struct jail_plan *plan, const struct layer_report *reports,
                   unsigned walls);

/* The body of GET /v1/environments. */
void describe_environments(struct buffer *out, const struct interpreter *interpreter);

#endif
