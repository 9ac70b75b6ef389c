/* A user database for tests, loaded in front of the C library: its users are in a file, and it fails or hangs on demand.
 *
 * In the folder FASTGPU_TEST_USERS: `users` has a line NAME:UID for each user; while there is a file `down` the calls
 * fail with EIO, while there is a file `hang` they do not return.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static int there(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("FASTGPU_TEST_USERS"), name);
    return access(path, F_OK) == 0;
}

static int find(const char *name, uid_t uid, struct passwd *entry, char *buffer, size_t size, struct passwd **result)
{
    char path[4096], line[512];
    *result = NULL;
    while (there("hang"))
        usleep(10000);
    if (there("down"))
        return EIO;
    snprintf(path, sizeof path, "%s/users", getenv("FASTGPU_TEST_USERS"));
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return errno;
    while (*result == NULL && fgets(line, sizeof line, file)) {
        char *number = strrchr(line, ':');
        *number++ = 0;
        if (name != NULL ? strcmp(line, name) == 0 : (uid_t)atol(number) == uid) {
            snprintf(buffer, size, "%s", line);
            memset(entry, 0, sizeof *entry);
            entry->pw_name = buffer;
            entry->pw_uid = entry->pw_gid = (uid_t)atol(number);
            *result = entry;
        }
    }
    fclose(file);
    return 0;
}

EXPORT int getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t size, struct passwd **result)
{
    return find(name, 0, entry, buffer, size, result);
}

EXPORT int getpwuid_r(uid_t uid, struct passwd *entry, char *buffer, size_t size, struct passwd **result)
{
    return find(NULL, uid, entry, buffer, size, result);
}
