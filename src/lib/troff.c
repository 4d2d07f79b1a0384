#include "troff.h"

#include <string.h>

char *troff_line(const char *text, char line[TROFF_LINE])
{
    static const struct {
        char character;
        const char *written;
    } escapes[] = {{'\\', "\\e"}, {'-', "\\-"}, {'\'', "\\(aq"}, {'^', "\\(ha"}, {'~', "\\(ti"}, {'`', "\\(ga"}};
    size_t length = 0;
    if (*text == '.')
        length = (size_t)(stpcpy(line, "\\&") - line);
    for (; *text && length + 8 < TROFF_LINE; text++) {
        line[length] = *text;
        line[length + 1] = 0;
        size_t i = 0;
        while (i < sizeof escapes / sizeof *escapes && escapes[i].character != *text)
            i++;
        if (i < sizeof escapes / sizeof *escapes)
            strcpy(line + length, escapes[i].written);
        length += strlen(line + length);
    }
    line[length] = 0;
    return line;
}
