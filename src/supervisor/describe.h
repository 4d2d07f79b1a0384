/* What holds on this machine, in words: for `doctor`, /v1/jail, the terminal and the log. */
#ifndef SAFE_SCRIPT_DESCRIBE_H
#define SAFE_SCRIPT_DESCRIBE_H

#include "engine.h"
#include "frames.h"
#include "interpreter.h"
#include "jail.h"

#include <stdio.h>

/* One line per layer, then the weakest class of attack if there is one below `walls`. */
void describe_text(FILE *out, const struct jail_plan *plan, const struct layer_report *reports, unsigned walls);

/* A line for each environment. */
void describe_environments_text(FILE *out, const struct engine *engine);

/* The body of GET /v1/jail and of `doctor --json`. */
void describe_json(struct buffer *out, const struct jail_plan *plan, const struct layer_report *reports,
                   unsigned walls);

/* One of GET /v1/environments, without the state of its zygote and its last brace, which the front adds. */
void describe_environment(struct buffer *out, const struct environment *environment,
                          const struct interpreter *interpreter);

#endif
