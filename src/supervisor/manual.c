#include "manual.h"

#include "jail.h"
#include "keyfile.h"
#include "outcome.h"
#include "scope.h"
#include "settings.h"
#include "troff.h"

#include <string.h>

static void print_item(FILE *out, const char *name, const char *help)
{
    char line[TROFF_LINE];
    fprintf(out, ".TP\n.B %s\n", troff_line(name, line));
    fprintf(out, "%s\n", troff_line(help, line));
}

/* Lines as --help has them. */
static void print_lines(FILE *out, const char *lines)
{
    char text[TROFF_LINE], line[TROFF_LINE];
    for (size_t length; *lines; lines += length + 1) {
        length = strcspn(lines, "\n");
        snprintf(text, sizeof text, "%.*s", (int)length, lines);
        fprintf(out, "%s\n", troff_line(text, line));
    }
}

static void print_command(FILE *out, const struct subcommand *command)
{
    char name[128];
    snprintf(name, sizeof name, "%s%s%s", command->name, *command->arguments ? " " : "", command->arguments);
    print_item(out, name, command->help);
    fputs(command->options ? ".nf\n" : "", out);
    if (command->options)
        print_lines(out, command->options);
    if (command->print)
        command->print(out);
    fputs(command->options ? ".fi\n" : "", out);
}

void manual_program(FILE *out, const struct subcommand *all, size_t count)
{
    char line[TROFF_LINE];
    fputs(".TH SAFE-SCRIPT 1 \"" SAFE_SCRIPT_DATE "\" \"safe-script " SAFE_SCRIPT_VERSION "\" \"User Commands\"\n"
          ".SH NAME\nsafe-script \\- run untrusted Python scripts safely\n"
          ".SH SYNOPSIS\n",
          out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "%s.B safe\\-script %s\n", i ? ".br\n" : "", all[i].name);
        if (*all[i].arguments)
            fprintf(out, "%s\n", troff_line(all[i].arguments, line));
    }
    fputs(".SH DESCRIPTION\n"
          "A client sends a script that defines main(); it runs in a jail of its own; the client gets what main()\n"
          "returned, as JSON, and what it printed. A run is a clone of a warm interpreter that is inside its jail\n"
          "before the script reaches it.\n.SH COMMANDS\n",
          out);
    for (size_t i = 0; i < count; i++)
        print_command(out, &all[i]);
    print_item(out, "--help", "show this");
    fputs("(after a command: all of its options and settings)\n", out);
    print_item(out, "--version", "print the version");
    fputs(".SH SETTINGS\nEach is a flag, a variable (\\-\\-grace\\-ms: SAFE_SCRIPT_GRACE_MS) or a key of the\n"
          "configuration file, see\n.BR safe\\-script.conf (5);\nthe later wins: file, environment, flags. PORT=N is\n"
          "listen = 127.0.0.1:N, or with keys_file or open_to_all 0.0.0.0:N. An unknown name is an error everywhere.\n"
          "What is marked with [restart] SIGHUP does not change.\n",
          out);
    settings_print_flags_page(out);
    fputs(".SH STATUSES\nHow a run ended, as a run record has it:\n", out);
    for (int i = 0; i < STATUS_COUNT; i++)
        print_item(out, status_table[i].name, status_table[i].help);
    fputs(".SH LAYERS OF THE JAIL\n", out);
    for (int i = 0; i < LAYER_COUNT; i++) {
        char help[TROFF_LINE];
        snprintf(help, sizeof help, "%s. Where it is missing: %s.", layer_table[i].gives, layer_table[i].takes_over);
        print_item(out, layer_names[i], help);
    }
    fputs(".SH SIGNALS\n"
          ".TP\n.B SIGTERM, SIGINT\nno new runs, those in flight end within the grace time, exit status 0. Again: at "
          "once.\n"
          ".TP\n.B SIGHUP\nthe settings are read again; what is in flight goes on under the old ones; a configuration\n"
          "that is broken changes nothing, and the log says why.\n"
          ".SH SERVICE MANAGER\nSockets passed as\n.BR sd_listen_fds (3)\nhas it are served instead of the listen\n"
          "setting; connections wait on them while no server is ready.\n.BR sd_notify (3)\n"
          "is told READY=1, RELOADING=1, STOPPING=1, STATUS= and WATCHDOG=1.\n"
          ".SH EXIT STATUS\n"
          ".TP\n.B run\n0 only for status ok, 1 for any other, 2 for usage.\n"
          ".TP\n.B doctor\n1 below the minimum.\n"
          ".TP\n.B health\n1 if the server is not ready.\n"
          ".TP\n.B serve\n0 after a signal, 1 when it cannot start, 2 for settings.\n"
          ".SH EXAMPLES\n.nf\n",
          out);
    print_lines(out, "safe-script serve --listen 127.0.0.1:9000 --limits.wall_ms 30s\n"
                     "safe-script run script.py --input '{\"n\": 3}'\n"
                     "curl http://127.0.0.1:8080/execute -H 'Content-Type: text/x-python' \\\n"
                     "    --data-binary @script.py\n");
    fputs(".fi\n.SH SEE ALSO\n.BR safe\\-script.conf (5),\n.BR safe\\-script\\-api (7)\n", out);
}

void manual_configuration(FILE *out, const struct subcommand *all, size_t count)
{
    (void)all, (void)count;
    fputs(".TH SAFE-SCRIPT.CONF 5 \"" SAFE_SCRIPT_DATE "\" \"safe-script " SAFE_SCRIPT_VERSION "\" \"File Formats\"\n"
          ".SH NAME\nsafe-script.conf \\- configuration and keys of safe-script\n"
          ".SH SYNOPSIS\n.B safe\\-script serve \\-\\-config\n.I FILE\n.br\n"
          ".I /etc/safe\\-script.conf\n(what the service reads)\n"
          ".SH DESCRIPTION\nSections in brackets, and in them lines key = value. A line that begins with # or ; is a\n"
          "comment. An unknown section, key or value is an error that names its line, and the server does not start.\n"
          "Variables (SAFE_SCRIPT_GRACE_MS) win over the file, and flags (\\-\\-grace\\-ms) over both.\n.PP\n"
          ".B safe\\-script serve \\-\\-check\\-config \\-\\-config\n.I FILE\n"
          "checks one. SIGHUP has the server read its file again; one that is broken changes nothing.\n",
          out);
    settings_print_file_page(out);
    fputs(".SH KEYS FILE\nWhat keys_file names: a section [NAME] for each key, as\n.B safe\\-script key new\n"
          "writes it, with the key's SHA\\-256, its date, and any of these fields.\n"
          "A file that everybody may write is refused.\n.nf\n",
          out);
    keyfile_print_fields(out);
    fputs(".fi\n.SH EXAMPLE\n.nf\n", out);
    print_lines(out, "[server]\nkeys_file = /etc/safe-script.keys\nconcurrency = 8\n\n"
                     "[limits]\nwall_ms = 30s\nmemory_bytes = 512MiB\n\n"
                     "[environment science]\npython = /opt/science/bin/python3\npreload = numpy scipy.stats\n"
                     "memory_bytes = 1GiB\n");
    fputs(".fi\n.SH FILES\n.TP\n.I /etc/safe\\-script.conf\n"
          ".SH SEE ALSO\n.BR safe\\-script (1),\n.BR safe\\-script\\-api (7)\n",
          out);
}

/* ---- completion ---- */

/* The first word of each line that a person would type as it stands: options and commands, no FILE. */
static void complete_options(FILE *out, const char *options)
{
    const char *line = options;
    while (line && *line) {
        size_t indent = strspn(line, " "), length = strcspn(line + indent, " \n");
        char first = line[indent];
        if (first == '-' || (indent && first >= 'a' && first <= 'z'))
            fprintf(out, " %.*s", (int)length, line + indent);
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
}

void manual_completion(FILE *out, const struct subcommand *all, size_t count)
{
    fputs("# bash completion for safe-script, printed by safe-script --completion. shellcheck shell=bash\n"
          "_safe_script() {\n"
          "    local word=$2 before=$3 settings words\n"
          "    COMPREPLY=()\n"
          "    settings=\"",
          out);
    settings_print_flags(out);
    /* --name=value comes as three words, by COMP_WORDBREAKS */
    fputs("\"\n"
          "    [ \"$word\" != = ] || word=\n"
          "    [ \"$before\" != = ] || before=${COMP_WORDS[COMP_CWORD - 2]}\n"
          "    [ \"${COMP_WORDS[COMP_CWORD]}\" != = ] || before=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    case ${COMP_WORDS[1]}-$COMP_CWORD in\n"
          "    *-1) words=\"",
          out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s ", all[i].name);
    fputs("--help --version\" ;;\n", out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "    %s-*) words=\"--help", all[i].name);
        complete_options(out, all[i].options);
        fputs(all[i].settings ? " $settings\"" : "\"", out);
        /* what is no option there is a file's name, as bash completes it by itself */
        fputs(strncmp(all[i].arguments, "FILE", 4) == 0 ? "; [[ $word == -* ]] || words= ;;\n" : " ;;\n", out);
    }
    fputs("    esac\n    case $before in\n", out);
    settings_print_values(out, "    ", "return", "compopt +o default; return");
    fputs("    esac\n    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n}\n"
          "complete -o default -F _safe_script safe-script\n",
          out);
}
