/*
 * casemate-launcher: performs the operations of one plan and then watches the sandbox until it ends.
 *
 * Descriptor 3 is a stream socket to whoever started it. The plan comes in there (src/operations.ts has the format); events go
 * out (src/protocol.ts). When that socket closes, the starter is gone, and so the sandbox ends.
 */
#include "launcher.h"

int main(void)
{
	unsigned char header[8];
	if (fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC) < 0) {
		static const char usage[] = "casemate-launcher: started by @casemate/namespaces, with a plan on descriptor 3\n";
		return write(STDERR_FILENO, usage, sizeof usage - 1) < 0 ? 2 : 1;
	}
	read_exactly(CONTROL_FD, header, sizeof header);
	struct operation size = {.at = header + 4, .end = header + 8};
	if (memcmp(header, "CMP1", 4) == 0)
		start(take_u32(&size));
	else if (memcmp(header, "CMQ1", 4) == 0)
		probe();
	else
		fail(EBADMSG, "plan");
	return 0;
}
