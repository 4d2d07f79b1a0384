/* The manual pages safe-script(1) and safe-script.conf(5), and bash's completion, printed for the build. Their lists
 * are the tables' (subcommands, settings, limits, statuses, layers), so they cannot say anything else than the program
 * does. */
#ifndef SAFE_SCRIPT_MANUAL_H
#define SAFE_SCRIPT_MANUAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* A row of main.c's table. */
struct subcommand {
    const char *name, *arguments, *help;
    int (*main)(int argc, char **argv);
    const char *options;      /* its own, beside the settings; NULL: none */
    bool settings;            /* takes the settings */
    void (*print)(FILE *out); /* the rest of its options; NULL: that was all */
};

void manual_program(FILE *out, const struct subcommand *all, size_t count);
void manual_configuration(FILE *out, const struct subcommand *all, size_t count);
void manual_completion(FILE *out, const struct subcommand *all, size_t count);

#endif
