// SPDX-License-Identifier: GPL-2.0-or-later
/* Running the packet filter's tools: no shell, input and output through files in memory. */
#include "proxy/rules-internal.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define GIVE_UP_MS 10000

/* Only what is said first matters to the reader of an error. */
#define WORDS_MAX 300

bool rules_tool(const char *name, char path[64])
{
	static const char *const folders[] = {"/usr/sbin", "/sbin", "/usr/bin", "/bin"};

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		snprintf(path, 64, "%s/%s", folders[i], name);
		if (!access(path, X_OK))
			return true;
	}
	return false;
}

int rules_text(void)
{
	int fd = memfd_create("colod-rules", MFD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* The daemon blocks signals for its signalfd; a tool must start without. */
static int spawn(pid_t *pid, const char *path, const char *const argv[], int in, int out, int words)
{
	static char path_env[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", locale_env[] = "LC_ALL=C";
	static char *const env[] = {path_env, locale_env, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawn_file_actions_init(&files);
	if (in >= 0)
		posix_spawn_file_actions_adddup2(&files, in, 0);
	else
		posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, out, 1);
	posix_spawn_file_actions_adddup2(&files, words, 2);
	r = posix_spawn(pid, path, &files, &attr, (char *const *)argv, env);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return -r;
}

/* The exit status, or -ETIMEDOUT after killing it. */
static int wait_for(pid_t pid)
{
	autoclose int fd = pidfd_open(pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	bool late = false;
	int status, n;

	do
		n = fd < 0 ? 1 : poll(&p, 1, GIVE_UP_MS);
	while (n < 0 && errno == EINTR);
	if (n == 0) {
		kill(pid, SIGKILL);
		late = true;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (late)
		return -ETIMEDOUT;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char *read_all(int fd)
{
	struct stat st;
	char *text;
	ssize_t n;

	if (fstat(fd, &st))
		return NULL;
	text = malloc(st.st_size + 1);
	if (!text)
		return NULL;
	n = pread(fd, text, st.st_size, 0);
	text[MAX(n, 0)] = '\0';
	return text;
}

/* Its first words, in one line. */
static int tool_failed(const char *tool, int status, int words, struct err *e)
{
	char text[WORDS_MAX + 1] = "";
	ssize_t n = pread(words, text, WORDS_MAX, 0);

	while (n > 0 && text[n - 1] == '\n')
		n--;
	text[MAX(n, 0)] = '\0';
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
	return err_set(e, EINVAL, "%s failed (%d): %s", tool, status, text);
}

int rules_run(const char *const argv[], int input, char **output, struct err *e)
{
	autoclose int out = rules_text();
	autoclose int words = rules_text();
	char path[64];
	pid_t pid;
	int r;

	if (!rules_tool(argv[0], path))
		return err_set(e, ENOENT, "%s is not installed", argv[0]);
	if (out < 0 || words < 0)
		return err_errno(e, ENOMEM, "memory for running %s", argv[0]);
	if (input >= 0)
		lseek(input, 0, SEEK_SET);
	r = spawn(&pid, path, argv, input, out, words);
	if (r)
		return err_errno(e, -r, "%s", path);
	r = wait_for(pid);
	if (r == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "%s did not end within %d s", argv[0],
			       GIVE_UP_MS / 1000);
	if (r)
		return tool_failed(argv[0], r, words, e);
	if (output && !(*output = read_all(out)))
		return err_errno(e, ENOMEM, "memory for what %s says", argv[0]);
	return 0;
}
