#include "believe.h"

#include "jail.h"

#include <stdbool.h>
#include <sys/wait.h>

static struct span any_result(struct span bytes)
{
    struct span result = {(const uint8_t *)"{}", 2};
    struct frame frame;
    while (frame_next(&bytes, &frame) == 1) {
        if (frame.tag == FRAME_RESULT)
            result = frame.data;
    }
    return result;
}

void believe(uint32_t without, struct span bytes, struct report *report, struct facts *facts)
{
    if ((without & WALL_FRONT) && report->verdict.kind != VERDICT_FAILURE) {
        report->result = any_result(bytes);
        report->verdict.kind = VERDICT_RESULT;
    }
    if (without & WALL_FACTS) {
        bool good = report->verdict.kind == VERDICT_RESULT;
        facts->cause = CAUSE_NONE;
        facts->wait_status = W_EXITCODE(good ? EXIT_REPORTED : EXIT_FAILED, 0);
    }
}
