/* A closed loop of processes: starts --at-once 2 -- python3 -I hello.py
 *
 * Each place starts the command, reads its standard output to the end, reaps it, and starts the next. One thread, one
 * poll; posix_spawn(), which copies no page tables. Prints what load.c prints of answers: a process that ends with
 * status 0 and the expected output is an answer, and any other ends the measurement with status 2. */
#include "figures.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUTPUT_MOST = 1 << 20, PLACES_MOST = 256 };

static const char usage[] = "starts [OPTION…] -- COMMAND…\n"
                            "  --at-once N     processes at the same time (1)\n"
                            "  --seconds S     for how long they are counted (5)\n"
                            "  --warm-up S     not counted before (0)\n"
                            "  --expect FILE   the command's output, byte for byte\n"
                            "  --times FILE    writes every duration there, in microseconds\n";

static struct {
    uint64_t at_once, seconds_ns, warm_up_ns;
    const char *times;
    uint8_t *expected;
    size_t expected_length;
    char **command;
} options = {.at_once = 1, .seconds_ns = 5000000000};

struct place {
    pid_t pid;
    uint64_t since_ns;
    size_t length;
    uint8_t output[OUTPUT_MOST];
};

static struct place *places;
static struct figures durations;
static uint64_t measured_from_ns;

static void begin(struct place *place, struct pollfd *poll)
{
    extern char **environ;
    posix_spawn_file_actions_t actions;
    int pipe_ends[2];
    if (pipe2(pipe_ends, O_CLOEXEC) || posix_spawn_file_actions_init(&actions) ||
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) ||
        posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO))
        fail("cannot start", options.command[0]);
    place->length = 0;
    place->since_ns = now_ns();
    if ((errno = posix_spawnp(&place->pid, options.command[0], &actions, NULL, options.command, environ)))
        fail("cannot start", options.command[0]);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_ends[1]);
    *poll = (struct pollfd){.fd = pipe_ends[0], .events = POLLIN};
}

static void finish(struct place *place)
{
    int status;
    if (waitpid(place->pid, &status, 0) != place->pid)
        fail("waitpid", NULL);
    uint64_t now = now_ns();
    bool right = status == 0 && (!options.expected || (place->length == options.expected_length &&
                                                       memcmp(place->output, options.expected, place->length) == 0));
    if (!right) {
        errno = 0;
        fprintf(stderr, "wait status %d, output \"%.*s\": ", status, (int)place->length, (const char *)place->output);
        fail("not what was expected of", options.command[0]);
    }
    if (measured_from_ns && place->since_ns >= measured_from_ns)
        figures_add(&durations, now - place->since_ns);
}

static bool read_some(struct place *place, int fd)
{
    ssize_t length = read(fd, place->output + place->length, OUTPUT_MOST - place->length);
    if (length > 0)
        place->length += (size_t)length;
    return length > 0;
}

static void run(void)
{
    struct pollfd polls[PLACES_MOST];
    uint64_t start = now_ns(), end = start + options.warm_up_ns + options.seconds_ns;
    if (!options.warm_up_ns)
        measured_from_ns = start;
    for (size_t i = 0; i < options.at_once; i++)
        begin(&places[i], &polls[i]);
    for (size_t running = options.at_once; running > 0;) {
        poll(polls, options.at_once, -1);
        if (!measured_from_ns && now_ns() >= start + options.warm_up_ns)
            measured_from_ns = now_ns();
        for (size_t i = 0; i < options.at_once; i++) {
            if (polls[i].fd < 0 || !polls[i].revents || read_some(&places[i], polls[i].fd))
                continue;
            close(polls[i].fd);
            polls[i].fd = -1;
            finish(&places[i]);
            if (now_ns() < end)
                begin(&places[i], &polls[i]);
            else
                running--;
        }
    }
}

static void take_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"at-once", 1, NULL, 'c'}, {"seconds", 1, NULL, 's'}, {"warm-up", 1, NULL, 'w'},
        {"expect", 1, NULL, 'e'},  {"times", 1, NULL, 'T'},   {0},
    };
    for (int option; (option = getopt_long(argc, argv, "+", known, NULL)) >= 0;) {
        if (option == 'c')
            options.at_once = option_number("--at-once", optarg, 1);
        else if (option == 's')
            options.seconds_ns = option_number("--seconds", optarg, 1e9);
        else if (option == 'w')
            options.warm_up_ns = option_number("--warm-up", optarg, 1e9);
        else if (option == 'e')
            options.expected = read_whole(optarg, &options.expected_length);
        else if (option == 'T')
            options.times = optarg;
        else
            optind = argc;
    }
    if (optind >= argc || !options.at_once || options.at_once > PLACES_MOST) {
        fputs(usage, stderr);
        exit(2);
    }
    options.command = argv + optind;
}

int main(int argc, char **argv)
{
    take_options(argc, argv);
    places = calloc(options.at_once, sizeof *places);
    if (!places)
        fail("out of memory", NULL);
    run();
    double seconds = measured_from_ns ? (double)(now_ns() - measured_from_ns) / 1e9 : 0;
    if (options.times)
        figures_save(&durations, options.times);
    printf("{\"answers\":%zu,\"seconds\":%.3f,\"per_second\":%.1f,", durations.count, seconds,
           seconds > 0 ? (double)durations.count / seconds : 0);
    figures_print(&durations);
    puts("}");
    return durations.count ? 0 : 2;
}
