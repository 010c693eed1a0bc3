/*
 * casemate-launcher: a server that makes sandboxes for the program that started it.
 *
 * Descriptor 3 is a stream socket to that program, the starter: requests come in there and events go out (src/protocol.ts has
 * both). For each request the server forks a watcher (outside.c, watch.c), which makes one sandbox, performs the operations of
 * its plan (src/operations.ts) and watches it until it ends. When the socket closes, the starter is gone, and so all of it ends.
 */
#include "launcher.h"

int main(int argc, char **argv)
{
	(void)argc;
	if (fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC) < 0) {
		static const char usage[] = "casemate-launcher: started by @casemate/namespaces, with a socket as descriptor 3\n";
		return write(STDERR_FILENO, usage, sizeof usage - 1) < 0 ? 2 : 1;
	}
	run_sealed(argv);
	serve();
}
