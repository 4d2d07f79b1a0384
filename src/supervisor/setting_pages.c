/* Settings as people read them: --help, the manual pages (troff), a shell's completion. */
#include "scope.h"
#include "setting_rows.h"
#include "troff.h"

#include <inttypes.h>
#include <string.h>

/* "--grace-ms" or "--limits.wall_ms" of a key. Returns name. */
static char *flag_of(const char *key, const char *prefix, char *name, size_t size)
{
    snprintf(name, size, "%s%s", prefix, key);
    for (char *c = name; !strchr(prefix, '.') && *c; c++)
        *c = *c == '_' ? '-' : *c;
    return name;
}

/* ---- --help ---- */

static void print_help(FILE *out, const char *name, const char *help, const char *initial, bool live)
{
    fprintf(out, "  %-26s%s", name, help);
    if (initial)
        fprintf(out, " (default %s)", initial);
    fputs(live ? "\n" : " [restart]\n", out);
}

void settings_print(FILE *out)
{
    char name[48];
    fputs("Settings (flag --grace-ms, variable SAFE_SCRIPT_GRACE_MS, or grace_ms in [server] of the file; SIGHUP has\n"
          "all but those with [restart] read again):\n",
          out);
    print_help(out, "--config", "read this configuration file (also SAFE_SCRIPT_CONFIG)", NULL, false);
    for (size_t i = 0; i < setting_row_count; i++) {
        const struct setting_row *row = &setting_rows[i];
        print_help(out, flag_of(row->key, "--", name, sizeof name), row->help, row->initial, row->live);
    }
    fputs("Environments (sections [environment NAME] of the file; beside these the limits of its runs, as "
          "memory_bytes):\n",
          out);
    for (size_t i = 0; i < environment_row_count; i++) {
        const struct setting_row *row = &environment_rows[i];
        snprintf(name, sizeof name, "  %s", row->key);
        print_help(out, name, row->help, row->initial, row->live);
    }
    fputs("Limits of each run (flag --limits.wall_ms, variable SAFE_SCRIPT_LIMITS_WALL_MS, or [limits] in the "
          "file):\n",
          out);
    for (int i = 0; i < LIMIT_COUNT; i++) {
        char value[40];
        print_help(out, flag_of(limit_table[i].name, "--limits.", name, sizeof name), limit_table[i].help,
                   limit_text((enum limit)i, limit_table[i].initial, value, sizeof value), true);
    }
}

/* ---- the manual pages ---- */

static void print_item(FILE *out, const char *name, const char *help, const char *initial, bool live)
{
    char line[TROFF_LINE];
    fprintf(out, ".TP\n.B %s\n", troff_line(name, line));
    fputs(troff_line(help, line), out);
    if (initial)
        fprintf(out, " (default %s)", troff_line(initial, line));
    fputs(live ? "\n" : " [restart]\n", out);
}

void settings_print_flags_page(FILE *out)
{
    char name[48], value[40];
    print_item(out, "--config", "read this configuration file (also SAFE_SCRIPT_CONFIG)", NULL, false);
    for (size_t i = 0; i < setting_row_count; i++) {
        const struct setting_row *row = &setting_rows[i];
        print_item(out, flag_of(row->key, "--", name, sizeof name), row->help, row->initial, row->live);
    }
    for (int i = 0; i < LIMIT_COUNT; i++)
        print_item(out, flag_of(limit_table[i].name, "--limits.", name, sizeof name), limit_table[i].help,
                   limit_text((enum limit)i, limit_table[i].initial, value, sizeof value), true);
}

static void print_words(FILE *out, const char *const words[], const char *separator)
{
    for (size_t i = 0; words[i]; i++)
        fprintf(out, "%s%s", i ? separator : "", words[i]);
}

static void print_range(FILE *out, uint64_t least, uint64_t most, enum unit unit)
{
    char from[40], to[40];
    fprintf(out, ".br\nA whole number%s from %s", unit_words[unit], unit_text(unit, least, from, sizeof from));
    if (most == UINT64_MAX / 2)
        fputs(" on.\n", out);
    else
        fprintf(out, " to %s.\n", unit_text(unit, most, to, sizeof to));
}

static void print_key(FILE *out, const struct setting_row *row)
{
    const char *const *choices = setting_choices(row->kind);
    print_item(out, row->key, row->help, row->initial, row->live);
    if (choices) {
        fputs(".br\nOne of ", out);
        print_words(out, choices, ", ");
        fputs(".\n", out);
    }
    if (row->kind == KIND_COUNT || row->kind == KIND_MILLISECONDS || row->kind == KIND_BYTES)
        print_range(out, row->least, row->most, setting_unit(row->kind));
}

void settings_print_file_page(FILE *out)
{
    fputs(".SH SECTION [server]\nWhat is marked with [restart] SIGHUP does not change.\n", out);
    for (size_t i = 0; i < setting_row_count; i++)
        print_key(out, &setting_rows[i]);
    fputs(".SH SECTION [limits]\nOf each run. Some may be lowered by a request or a key; none can be raised by them.\n",
          out);
    for (int i = 0; i < LIMIT_COUNT; i++) {
        const struct limit_row *row = &limit_table[i];
        char value[40];
        print_item(out, row->name, row->help, limit_text((enum limit)i, row->initial, value, sizeof value), true);
        print_range(out, row->least, row->most, row->unit);
        fputs(row->by_request ? "A request or a key may lower it.\n" : "", out);
    }
    fprintf(out,
            ".SH SECTIONS [environment NAME]\nUp to %d, each with a zygote of its own. NAME is of small letters,\n"
            "digits, \\- and _. A request names one, or gets the environment \"default\".\n"
            "Beside these keys a section may have any of [limits] that a request may lower, for its runs.\n",
            ENVIRONMENTS_MOST);
    for (size_t i = 0; i < environment_row_count; i++)
        print_key(out, &environment_rows[i]);
}

/* ---- completion ---- */

void settings_print_flags(FILE *out)
{
    char name[48];
    fputs("--config", out);
    for (size_t i = 0; i < setting_row_count; i++)
        fprintf(out, " %s", flag_of(setting_rows[i].key, "--", name, sizeof name));
    for (int i = 0; i < LIMIT_COUNT; i++)
        fprintf(out, " --limits.%s", limit_table[i].name);
}

void settings_print_values(FILE *out, const char *indent, const char *files, const char *others)
{
    char name[48];
    fprintf(out, "%s--config", indent);
    for (size_t i = 0; i < setting_row_count; i++) {
        if (setting_rows[i].kind == KIND_TEXT)
            fprintf(out, " | %s", flag_of(setting_rows[i].key, "--", name, sizeof name));
    }
    fprintf(out, ") %s ;;\n", files);
    for (size_t i = 0; i < setting_row_count; i++) {
        const char *const *choices = setting_choices(setting_rows[i].kind);
        if (!choices)
            continue;
        fprintf(out, "%s%s) words=\"", indent, flag_of(setting_rows[i].key, "--", name, sizeof name));
        print_words(out, choices, " ");
        fputs("\" ;;\n", out);
    }
    fprintf(out, "%s--limits.*", indent);
    for (size_t i = 0; i < setting_row_count; i++) {
        if (setting_rows[i].kind != KIND_TEXT && !setting_choices(setting_rows[i].kind))
            fprintf(out, " | %s", flag_of(setting_rows[i].key, "--", name, sizeof name));
    }
    fprintf(out, ") %s ;;\n", others);
}
