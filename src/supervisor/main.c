/* safe-script: the supervisor and the command line. Subcommands are rows of one table. */
#ifdef SAFE_SCRIPT_ABLATION
#include "ablation.h"
#endif
#include "describe.h"
#include "engine.h"
#include "health.h"
#include "keycmd.h"
#include "keyfile.h"
#include "listen.h"
#include "log.h"
#include "manual.h"
#include "scope.h"
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { EXIT_USAGE = 2 };

static int serve(int argc, char **argv);
static int run(int argc, char **argv);
static int doctor(int argc, char **argv);
static int policy(int argc, char **argv);
static int key(int argc, char **argv);
static int ready(int argc, char **argv);

static const struct subcommand subcommands[] = {
    {"serve", "[SETTINGS]", "serve HTTP: POST /execute, POST /v1/runs", serve,
     "  --check-config            check the configuration, print nothing, and exit\n", true},
    {"run", "FILE [OPTIONS]", "run one script; its result goes to standard output", run,
     "  FILE                      the script, or - for standard input\n"
     "  --input JSON              value for main(input)\n"
     "  --stdin FILE              text that the script can read (- for standard input)\n"
     "  --file PATH=FILE          put FILE into the script's working directory as PATH; may be repeated\n"
     "  --return GLOB             give these files of the working directory back (with --json); may be repeated\n"
     "  --json                    print the whole run record\n"
     "  --environment NAME        the environment that it runs in (default: default)\n",
     true},
    {"doctor", "[--json]", "try each layer of the jail here and say what holds; exit 1 below the minimum", doctor,
     "  --json                    as JSON, the body of GET /v1/jail\n", true},
    {"health", "", "ask the server with these settings whether it is ready; exit 1 if not", ready, NULL, true},
    {"policy", "", "print the policy in force: paths, system calls, limits", policy, NULL, true},
    {"key", "COMMAND", "make, list and revoke the keys of keys_file", key,
     "  new NAME [FIELD=VALUE …]  make a key and print it, this once; only its hash is kept\n"
     "  list                      print the names, dates and fields of all keys\n"
     "  revoke NAME               take a key out of the file\n"
     "Fields of a key:\n",
     true, keyfile_print_fields},
};

static void version(FILE *out, const struct subcommand *all, size_t count)
{
    (void)all, (void)count;
    fputs("safe-script " SAFE_SCRIPT_VERSION "\n", out);
}

/* What it prints besides, the last three for the build. */
static const struct {
    const char *flag;
    void (*print)(FILE *out, const struct subcommand *all, size_t count);
} pages[] = {
    {"--version", version},
    {"--man", manual_program},
    {"--man-configuration", manual_configuration},
    {"--completion", manual_completion},
};

static void usage(FILE *out)
{
    fprintf(out, "safe-script %s: runs untrusted Python scripts safely\n\nUsage: safe-script COMMAND …\n\n",
            SAFE_SCRIPT_VERSION);
    for (size_t i = 0; i < COUNT(subcommands); i++)
        fprintf(out, "  %-7s %-16s %s\n", subcommands[i].name, subcommands[i].arguments, subcommands[i].help);
    fputs("\nsafe-script COMMAND --help tells more; safe-script --version the version.\n", out);
}

static void usage_of(const struct subcommand *command)
{
    printf("Usage: safe-script %s %s\n%s.\n\n", command->name, command->arguments, command->help);
    if (command->options)
        printf("Options:\n%s", command->options);
    if (command->print)
        command->print(stdout);
    fputs("  --help                    show this\n", stdout);
    if (command->settings) {
        putchar('\n');
        settings_print(stdout);
    }
}

/* ---- what all commands share ---- */

static int fail(const struct fault *fault)
{
    char text[768];
    fprintf(stderr, "safe-script: %s\n", fault_text(fault, text, sizeof text));
    return 1;
}

/* The directory of our other executables: beside this one in a build tree, else where they are installed. */
static int find_library(char *library, size_t size, struct fault *fault)
{
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0)
        return fault_set(fault, "supervisor", "readlink", errno, "/proc/self/exe");
    self[length] = 0;
    *strrchr(self, '/') = 0;
    const char *const places[] = {"", "/../libexec/safe-script", "/../lib/safe-script"};
    for (size_t i = 0; i < COUNT(places); i++) {
        char probe[4096 + 64], real[4096];
        snprintf(probe, sizeof probe, "%s%s/safe-script-http", self, places[i]);
        if (access(probe, X_OK) == 0 && realpath(probe, real)) {
            *strrchr(real, '/') = 0;
            snprintf(library, size, "%s", real);
            return 0;
        }
    }
    return fault_set(fault, "supervisor", "find", ENOENT, "safe-script-http, beside %s", self);
}

/* Where runs cannot have a tmpfs each: a directory for their boxes. */
static int open_boxes(struct engine *engine, struct settings *settings, struct fault *fault)
{
    struct jail_plan *plan = &engine->plan;
    uid_t owner = plan->run_uid_base ? plan->run_uid_base : plan->zygote_uid;
    if (plan->layers & LAYER_BIT(LAYER_ROOT))
        return 0;
    engine->boxes = boxes_open(settings->box_directory, owner, plan->boxes, sizeof plan->boxes, fault);
    if (!engine->boxes)
        return -1;
    engine->box_room = boxes_room(engine->boxes);
    if (engine_share_disk(engine, settings, fault))
        return -1;
    plan->limits = settings->limits;
    return 0;
}

/* The tool that is to be put around each run, if any. */
static int find_tool(struct engine *engine, const struct settings *settings, struct fault *fault)
{
    const char *const names[] = {[ENGINE_BUBBLEWRAP] = settings->bubblewrap, [ENGINE_NSJAIL] = settings->nsjail};
    engine->plan.engine = (uint32_t)settings->engine;
    if (settings->engine == ENGINE_CLONE)
        return 0;
    if (find_library(engine->library, sizeof engine->library, fault) ||
        outer_find(names[settings->engine], engine->tool, sizeof engine->tool, fault))
        return -1;
    engine->outer = (struct outer){(uint32_t)settings->engine, engine->tool, settings->nsjail_config, engine->library};
    outer_use(&engine->outer);
    return 0;
}

/* Probes the jail, and what there is for our own processes where a tool is to make the runs'. */
static void probe(struct engine *engine)
{
    struct layer_report reports[LAYER_COUNT];
    jail_probe(&engine->plan, engine->reports);
    engine->programs_plan = engine->plan;
    if (engine->plan.engine == ENGINE_CLONE)
        return;
    engine->programs_plan = (struct jail_plan){.limits = engine->plan.limits};
    jail_probe(&engine->programs_plan, reports);
}

/* Loads settings and probes the jail. Returns an exit status, 0 to go on. */
static int prepare(struct engine *engine, struct settings *settings, int argc, char **argv, struct rest *rest,
                   bool checkable)
{
    struct fault fault;
    if (settings_load(settings, argc, argv, rest)) {
        fprintf(stderr, "safe-script: %s\n", settings->error);
        return EXIT_USAGE;
    }
    if (settings->check_config && !checkable) {
        fputs("safe-script: --check-config goes with serve\n", stderr);
        return EXIT_USAGE;
    }
    if (settings->check_config)
        return 0;
    log_open("supervisor", (enum log_level)settings->log_level, (enum log_format)settings->log_format);
    engine->settings = settings;
    engine->argc = argc;
    engine->argv = argv;
    engine->plan.limits = settings->limits;
#ifdef SAFE_SCRIPT_ABLATION
    ablation_take(rest, &engine->plan);
#endif
    engine->epoll = engine->signal_fd = engine->description = engine->offers = engine->keys = engine->tls_program.fd =
        -1;
    engine->tls = (struct tls){{.socket = -1}, {-1, -1}, {-1, -1}, {-1, -1}, .asked = false};
    if (find_tool(engine, settings, &fault)) {
        fail(&fault);
        return EXIT_USAGE;
    }
    probe(engine);
    return 0;
}

static int refuse_rest(const char *command, const struct rest *rest)
{
    if (rest->count == 0)
        return 0;
    fprintf(stderr, "safe-script %s: unknown argument \"%s\" (see safe-script %s --help)\n", command, rest->argument[0],
            command);
    return EXIT_USAGE;
}

/* Whether the jail is below the minimum. A test build that leaves layers out on purpose asks for none. */
static bool is_too_weak(const struct engine *engine, const struct settings *settings)
{
#ifdef SAFE_SCRIPT_ABLATION
    if (engine->plan.without)
        return false;
#endif
    return jail_weakest(engine->plan.layers, (unsigned)settings->walls);
}

static int open_program(const struct engine *engine, struct program *program, const char *name, struct fault *fault)
{
    snprintf(program->path, sizeof program->path, "%s/%s", engine->library, name);
    program->fd = open(program->path, O_PATH | O_CLOEXEC);
    return program->fd < 0 ? fault_set(fault, "supervisor", "open", errno, "%s", program->path) : 0;
}

/* What serve and run have in common: the minimum, the interpreter, our own files. */
static int open_engine(struct engine *engine, struct settings *settings, const char *front, struct fault *fault)
{
    if (is_too_weak(engine, settings)) {
        fputs("safe-script: the jail is not strong enough here to run strangers' code:\n", stderr);
        describe_text(stderr, &engine->plan, engine->reports, (unsigned)settings->walls);
        return fault_set(fault, "jail", "probe", 0, "see above; --walls 1 accepts less, on your own responsibility");
    }
    if (environments_open(engine, settings, fault) || engine_size(engine, settings, fault) ||
        find_library(engine->library, sizeof engine->library, fault) || tls_open(engine, fault) ||
        open_boxes(engine, settings, fault))
        return -1;
    environments_want(engine, settings); /* with the disk that there is */
    if (open_program(engine, &engine->front_program, front, fault) ||
        (tls_wanted(engine) && open_program(engine, &engine->tls_program, "safe-script-tls", fault)))
        return -1;
    if (engine_describe(engine))
        return fault_set(fault, "supervisor", "memfd_create", errno, "what the front is told of this machine");
    return engine_open(engine, fault);
}

/* ---- serve ---- */

/* An address as a URL begins with it; where it is a path, that. */
static const char *url_of(const struct listening *listening, char *url, size_t size)
{
    const char *address = strncmp(listening->address, "tls:", 4) ? listening->address : listening->address + 4;
    bool on_path = strncmp(address, "unix:", 5) == 0;
    snprintf(url, size, "%s%s", on_path ? "" : listening->tls ? "https://" : "http://", address);
    return url;
}

static void greet(const struct engine *engine)
{
    char url[200];
    const char *first = url_of(&engine->listening[0], url, sizeof url);
    bool on_path = strncmp(first, "unix:", 5) == 0;
    printf("safe-script %s, %s\n", SAFE_SCRIPT_VERSION, engine->interpreters[0]->version);
    puts("The jail here:");
    describe_text(stdout, &engine->plan, engine->reports, (unsigned)engine->settings->walls);
    puts("The environments:");
    describe_environments_text(stdout, engine);
    for (size_t i = 0; i < engine->listening_count; i++) {
        char each[200];
        printf("Listening on %s\n", url_of(&engine->listening[i], each, sizeof each));
    }
    printf("Try:\n  curl %s%s%s/execute -H 'Content-Type: application/json' %s\\\n"
           "    -d '{\"script\": \"def main():\\n    print(\\\"hello world\\\")\\n    return {\\\"message\\\": "
           "\\\"done\\\"}\"}'\n",
           on_path ? "--unix-socket " : "", on_path ? first + 5 : first, on_path ? " http://localhost" : "",
           engine->settings->keys_file ? "-H 'Authorization: Bearer KEY' " : "");
    fflush(stdout);
}

static int check_keys(const struct settings *settings)
{
    struct key_list list;
    int result = keys_read(settings, &list);
    keys_forget(&list);
    if (result)
        fprintf(stderr, "safe-script: %s\n", list.error);
    return result ? EXIT_USAGE : 0;
}

static int serve(int argc, char **argv)
{
    static struct engine engine;
    static struct settings settings;
    struct rest rest;
    struct fault fault;
    int status = prepare(&engine, &settings, argc, argv, &rest, true);
    if (status == 0)
        status = refuse_rest("serve", &rest);
    if (status == 0 &&
        (listen_check(&settings, &fault) || find_library(engine.library, sizeof engine.library, &fault) ||
         tls_check(&settings, engine.library, !settings.check_config, &fault))) {
        fail(&fault);
        status = EXIT_USAGE;
    }
    if (status == 0)
        status = check_keys(&settings);
    if (status || settings.check_config)
        return status;
    int listening = listen_all(&settings, engine.listening, &fault);
    if (listening < 0)
        return fail(&fault);
    engine.listening_count = (size_t)listening;
    static char front_name[] = "safe-script-http", *front_argv[] = {front_name, NULL};
    static char tls_name[] = "safe-script-tls", *tls_argv[] = {tls_name, NULL};
    engine.front_program.argv = front_argv;
    engine.tls_program.argv = tls_argv;
    if (tls_fits(&engine, &settings, &fault) || open_engine(&engine, &settings, "safe-script-http", &fault)) {
        engine_close(&engine);
        listen_remove(engine.listening, engine.listening_count);
        return fail(&fault);
    }
    greet(&engine);
    for (size_t i = 0; i < engine.listening_count; i++)
        log_event(LOG_INFO, "listening", log_text("address", engine.listening[i].address));
    engine_relay_log(&engine);
    status = engine_serve(&engine);
    engine_close(&engine);
    listen_remove(engine.listening, engine.listening_count);
    log_event(LOG_INFO, "stopped");
    relay_close(&engine.relay);
    return status;
}

/* ---- run ---- */

static int run(int argc, char **argv)
{
    static struct engine engine;
    static struct settings settings;
    struct rest rest;
    struct fault fault;
    int status = prepare(&engine, &settings, argc, argv, &rest, false);
    if (status)
        return status;
    log_open("supervisor", settings.log_level == LOG_INFO ? LOG_ERROR : (enum log_level)settings.log_level,
             (enum log_format)settings.log_format);
    char **client = calloc((size_t)rest.count + 2, sizeof *client);
    if (!client)
        return fail((fault_set(&fault, "supervisor", "calloc", errno, "arguments"), &fault));
    static char client_name[] = "safe-script-run";
    client[0] = client_name;
    memcpy(client + 1, rest.argument, (size_t)rest.count * sizeof *client);
    engine.front_program.argv = client;
    engine.front_once = true;
    bool other = false;
    for (int i = 0; i < rest.count; i++)
        other |= strncmp(rest.argument[i], "--environment", 13) == 0;
    settings.concurrency = settings.pool = 1;
    if (open_engine(&engine, &settings, "safe-script-run", &fault)) {
        engine_close(&engine);
        return fail(&fault);
    }
    engine.environments[ENVIRONMENT_DEFAULT].needed_us = other ? 0 : now_us();
    status = engine_serve(&engine);
    for (size_t i = 0; i < engine.environment_count; i++) {
        if (engine.environments[i].failures >= FAILURES_MOST)
            fail(&engine.environments[i].fault);
    }
    engine_close(&engine);
    free(client);
    return status;
}

/* ---- doctor and policy ---- */

static int doctor(int argc, char **argv)
{
    static struct engine engine;
    static struct settings settings;
    struct rest rest;
    struct fault fault;
    int status = prepare(&engine, &settings, argc, argv, &rest, false);
    if (status)
        return status;
    bool json = rest.count == 1 && strcmp(rest.argument[0], "--json") == 0;
    unsigned walls = (unsigned)settings.walls;
    if (!json && (status = refuse_rest("doctor", &rest)))
        return status;
    if (json) {
        struct buffer text = {0};
        describe_json(&text, &engine.plan, engine.reports, walls);
        fwrite(text.bytes, 1, text.length, stdout);
        putchar('\n');
        buffer_free(&text);
    } else {
        puts("The jail here:");
        describe_text(stdout, &engine.plan, engine.reports, walls);
        if (environments_open(&engine, &settings, &fault))
            return fail(&fault);
        puts("The environments:");
        describe_environments_text(stdout, &engine);
    }
    return is_too_weak(&engine, &settings) ? 1 : 0;
}

static int policy(int argc, char **argv)
{
    static struct engine engine;
    static struct settings settings;
    struct rest rest;
    int status = prepare(&engine, &settings, argc, argv, &rest, false);
    if (status == 0)
        status = refuse_rest("policy", &rest);
    if (status == 0)
        jail_print_policy(&engine.plan);
    return status;
}

static int key(int argc, char **argv)
{
    static struct settings settings;
    struct rest rest;
    if (settings_load(&settings, argc, argv, &rest)) {
        fprintf(stderr, "safe-script: %s\n", settings.error);
        return EXIT_USAGE;
    }
    return keycmd(&settings, &rest);
}

static int ready(int argc, char **argv)
{
    static struct settings settings;
    struct rest rest;
    if (settings_load(&settings, argc, argv, &rest)) {
        fprintf(stderr, "safe-script: %s\n", settings.error);
        return EXIT_USAGE;
    }
    int status = refuse_rest("health", &rest);
    return status ? status : health(&settings);
}

/* A descriptor of ours in the place of a closed 0, 1 or 2 would be read, or written over, as a stream. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_WRONLY : O_RDONLY) != fd)
            _exit(EXIT_USAGE);
    }
}

/* A file may have capabilities (setcap(8), as the image's has) without the word that has them in force at once: where a
 * container grants fewer, the kernel would refuse to start it. What was granted is put in force here. */
static void use_file_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct have[2] = {{0}, {0}};
    if (syscall(SYS_capget, &header, have))
        return;
    for (size_t i = 0; i < COUNT(have); i++)
        have[i].effective = have[i].permitted;
    (void)syscall(SYS_capset, &header, have); /* what is not in force is reported as missing, by the layers */
}

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    use_file_capabilities();
    const char *name = argc > 1 ? argv[1] : "--help";
    for (size_t i = 0; i < COUNT(pages); i++) {
        if (strcmp(name, pages[i].flag) != 0)
            continue;
        pages[i].print(stdout, subcommands, COUNT(subcommands));
        return 0;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        usage(argc > 1 ? stdout : stderr);
        return argc > 1 ? 0 : EXIT_USAGE;
    }
    for (size_t i = 0; i < COUNT(subcommands); i++) {
        if (strcmp(name, subcommands[i].name) != 0)
            continue;
        for (int j = 2; j < argc; j++) {
            if (strcmp(argv[j], "--help") == 0) {
                usage_of(&subcommands[i]);
                return 0;
            }
        }
        return subcommands[i].main(argc - 2, argv + 2);
    }
    fprintf(stderr, "safe-script: unknown command \"%s\"\n", name);
    usage(stderr);
    return EXIT_USAGE;
}
