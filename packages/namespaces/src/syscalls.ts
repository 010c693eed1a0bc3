/** System call numbers of Linux 7.1 on every architecture that container profiles name: the kernel's arch/…/syscall*.tbl. */
import { ARCHITECTURES, type SeccompArch } from './seccomp-architectures.js';

/** The number of a call on an architecture, or undefined where it has none. */
export function syscallNumber(name: string, arch: SeccompArch): number | undefined {
  return numbersOf(arch).get(name);
}

/** The names of all calls of all architectures. */
export function syscallNames(): ReadonlySet<string> {
  names ??= new Set(ROWS.map((row) => row.slice(0, row.indexOf(' '))));
  return names;
}

/** The name of a call, or undefined for a number that the table does not know. */
export function syscallName(number: number, arch: SeccompArch): string | undefined {
  for (const [name, nr] of numbersOf(arch)) if (nr === number) return name;
  return undefined;
}

/** Every call of an architecture, by name. */
export function numbersOf(arch: SeccompArch): ReadonlyMap<string, number> {
  const known = tables.get(arch);
  if (known) return known;
  const { column, base } = ARCHITECTURES[arch];
  const table = new Map<string, number>();
  for (const row of ROWS) {
    const [name = '', ...numbers] = row.split(' ');
    const number = numbers.length === 1 ? numbers[0] : cellOf(numbers, column);
    if (number !== undefined && number !== '-') table.set(name, Number(number) + base);
  }
  tables.set(arch, table);
  return table;
}

function cellOf(numbers: readonly string[], column: number): string | undefined {
  const cell = numbers[column];
  return cell === '=' ? numbers[TWINS[column] ?? 0] : cell;
}

let names: ReadonlySet<string> | undefined;
const tables = new Map<SeccompArch, ReadonlyMap<string, number>>();

// `=` is the number of the column that this one is the twin of: x32 of x86_64, riscv64 and loongarch64 of aarch64, and so on.
const TWINS: Readonly<Record<number, number>> = { 1: 0, 4: 3, 5: 3, 8: 7, 10: 9, 12: 11 };

// One number alone: the same everywhere. Else the columns: x86_64 x32 x86, aarch64 riscv64 loongarch64, arm, s390x s390,
// ppc64 ppc, mips64 mips64n32 mips; `-` where the architecture has no such call.
const ROWS: readonly string[] = `
accept 43 = - 202 = = 285 - = 330 = 42 = 168
accept4 288 = 364 242 = = 366 364 = 344 = 293 297 334
access 21 = 33 - = = 33 33 = 33 = 20 = 33
acct 163 = 51 89 = = 51 51 = 51 = 158 = 51
add_key 248 = 286 217 = = 309 278 = 269 = 239 243 280
adjtimex 159 = 124 171 = = 124 124 = 124 = 154 = 124
afs_syscall 183 = 137 - = = - 137 = 137 = 176 = 137
alarm 37 = 27 - = = - 27 = 27 = 37 = 27
arch_prctl 158 = 384 - = = - - = - = - = -
arm_fadvise64_64 - = - - = = 270 - = - = - = -
arm_sync_file_range - = - - = = 341 - = - = - = -
bdflush - = 134 - = = 134 134 = 134 = - = 134
bind 49 = 361 200 = = 282 361 = 327 = 48 = 169
bpf 321 = 357 280 = = 386 351 = 361 = 315 319 355
break - = 17 - = = - - = 17 = - = 17
breakpoint - = - - = = 983041 - = - = - = -
brk 12 = 45 214 = = 45 45 = 45 = 12 = 45
cachectl - = - - = = - - = - = 198 = 148
cacheflush - = - - = = 983042 - = - = 197 = 147
cachestat 451
capget 125 = 184 90 = = 184 184 = 183 = 123 = 204
capset 126 = 185 91 = = 185 185 = 184 = 124 = 205
chdir 80 = 12 49 = = 12 12 = 12 = 78 = 12
chmod 90 = 15 - = = 15 15 = 15 = 88 = 15
chown 92 = 182 - = = 182 212 182 181 = 90 = 202
chown32 - = 212 - = = 212 - 212 - = - = -
chroot 161 = 61 51 = = 61 61 = 61 = 156 = 61
clock_adjtime 305 = 343 266 = = 372 337 = 347 = 300 305 341
clock_adjtime64 - = 405 - = = 405 - 405 - 405 - 405 405
clock_getres 229 = 266 114 = = 264 261 = 247 = 223 227 264
clock_getres_time64 - = 406 - = = 406 - 406 - 406 - 406 406
clock_gettime 228 = 265 113 = = 263 260 = 246 = 222 226 263
clock_gettime64 - = 403 - = = 403 - 403 - 403 - 403 403
clock_nanosleep 230 = 267 115 = = 265 262 = 248 = 224 228 265
clock_nanosleep_time64 - = 407 - = = 407 - 407 - 407 - 407 407
clock_settime 227 = 264 112 = = 262 259 = 245 = 221 225 262
clock_settime64 - = 404 - = = 404 - 404 - 404 - 404 404
clone 56 = 120 220 = = 120 120 = 120 = 55 = 120
clone3 435
close 3 = 6 57 = = 6 6 = 6 = 3 = 6
close_range 436
connect 42 = 362 203 = = 283 362 = 328 = 41 = 170
copy_file_range 326 = 377 285 = = 391 375 = 379 = 320 324 360
creat 85 = 8 - = = 8 8 = 8 = 83 = 8
create_module 174 - 127 - = = - 127 = 127 = 167 = 127
delete_module 176 = 129 106 = = 129 129 = 129 = 169 = 129
dup 32 = 41 23 = = 41 41 = 41 = 31 = 41
dup2 33 = 63 - = = 63 63 = 63 = 32 = 63
dup3 292 = 330 24 = = 358 326 = 316 = 286 290 327
epoll_create 213 = 254 - = = 250 249 = 236 = 207 = 248
epoll_create1 291 = 329 20 = = 357 327 = 315 = 285 289 326
epoll_ctl 233 = 255 21 = = 251 250 = 237 = 208 = 249
epoll_ctl_old 214 - - - = = - - = - = - = -
epoll_pwait 281 = 319 22 = = 346 312 = 303 = 272 276 313
epoll_pwait2 441
epoll_wait 232 = 256 - = = 252 251 = 238 = 209 = 250
epoll_wait_old 215 - - - = = - - = - = - = -
eventfd 284 = 323 - = = 351 318 = 307 = 278 282 319
eventfd2 290 = 328 19 = = 356 323 = 314 = 284 288 325
execve 59 520 11 221 = = 11 11 = 11 = 57 = 11
execveat 322 545 358 281 = = 387 354 = 362 = 316 320 356
exit 60 = 1 93 = = 1 1 = 1 = 58 = 1
exit_group 231 = 252 94 = = 248 248 = 234 = 205 = 246
faccessat 269 = 307 48 = = 334 300 = 298 = 259 263 300
faccessat2 439
fadvise64 221 = 250 223 = = - 253 = 233 = 215 216 254
fadvise64_64 - = 272 - = = - - 264 - 254 - = -
fallocate 285 = 324 47 = = 352 314 = 309 = 279 283 320
fanotify_init 300 = 338 262 = = 367 332 = 323 = 295 300 336
fanotify_mark 301 = 339 263 = = 368 333 = 324 = 296 301 337
fchdir 81 = 133 50 = = 133 133 = 133 = 79 = 133
fchmod 91 = 94 52 = = 94 94 = 94 = 89 = 94
fchmodat 268 = 306 53 = = 333 299 = 297 = 258 262 299
fchmodat2 452
fchown 93 = 95 55 = = 95 207 95 95 = 91 = 95
fchown32 - = 207 - = = 207 - 207 - = - = -
fchownat 260 = 298 54 = = 325 291 = 289 = 250 254 291
fcntl 72 = 55 25 = = 55 55 = 55 = 70 = 55
fcntl64 - = 221 - = = 221 - 221 - 204 - 212 220
fdatasync 75 = 148 83 = = 148 148 = 148 = 73 = 152
fgetxattr 193 = 231 10 = = 231 229 = 214 = 185 = 229
file_getattr 468
file_setattr 469
finit_module 313 = 350 273 = = 379 344 = 353 = 307 312 348
flistxattr 196 = 234 13 = = 234 232 = 217 = 188 = 232
flock 73 = 143 32 = = 143 143 = 143 = 71 = 143
fork 57 = 2 - = = 2 2 = 2 = 56 = 2
fremovexattr 199 = 237 16 = = 237 235 = 220 = 191 = 235
fsconfig 431
fsetxattr 190 = 228 7 = = 228 226 = 211 = 182 = 226
fsmount 432
fsopen 430
fspick 433
fstat 5 = 108 80 = = 108 108 = 108 = 5 = 108
fstat64 - = 197 - = = 197 - 197 - 197 - = 215
fstatat64 - = 300 - = = 327 - 293 - 291 - = 293
fstatfs 138 = 100 44 = = 100 100 = 100 = 135 = 100
fstatfs64 - = 269 - = = 267 266 = 253 = - 218 256
fsync 74 = 118 82 = = 118 118 = 118 = 72 = 118
ftime - = 35 - = = - - = 35 = - = 35
ftruncate 77 = 93 46 = = 93 93 = 93 = 75 = 93
ftruncate64 - = 194 - = = 194 - 194 - 194 - = 212
futex 202 = 240 98 = = 240 238 = 221 = 194 = 238
futex_requeue 456
futex_time64 - = 422 - = = 422 - 422 - 422 - 422 422
futex_wait 455
futex_waitv 449
futex_wake 454
futimesat 261 = 299 - = = 326 292 = 290 = 251 255 292
getcpu 309 = 318 168 = = 345 311 = 302 = 271 275 312
getcwd 79 = 183 17 = = 183 183 = 182 = 77 = 203
getdents 78 = 141 - = = 141 141 = 141 = 76 = 141
getdents64 217 = 220 61 = = 217 220 = 202 = 308 299 219
getegid 108 = 50 177 = = 50 202 50 50 = 106 = 50
getegid32 - = 202 - = = 202 - 202 - = - = -
geteuid 107 = 49 175 = = 49 201 49 49 = 105 = 49
geteuid32 - = 201 - = = 201 - 201 - = - = -
getgid 104 = 47 176 = = 47 200 47 47 = 102 = 47
getgid32 - = 200 - = = 200 - 200 - = - = -
getgroups 115 = 80 158 = = 80 205 80 80 = 113 = 80
getgroups32 - = 205 - = = 205 - 205 - = - = -
getitimer 36 = 105 102 = = 105 105 = 105 = 35 = 105
get_kernel_syms 177 - 130 - = = - 130 = 130 = 170 = 130
get_mempolicy 239 = 275 236 = = 320 269 = 260 = 228 232 269
getpeername 52 = 368 205 = = 287 368 = 332 = 51 = 171
getpgid 121 = 132 155 = = 132 132 = 132 = 119 = 132
getpgrp 111 = 65 - = = 65 65 = 65 = 109 = 65
getpid 39 = 20 172 = = 20 20 = 20 = 38 = 20
getpmsg 181 = 188 - = = - 188 = 187 = 174 = 208
getppid 110 = 64 173 = = 64 64 = 64 = 108 = 64
getpriority 140 = 96 141 = = 96 96 = 96 = 137 = 96
getrandom 318 = 355 278 = = 384 349 = 359 = 313 317 353
getresgid 120 = 171 150 = = 171 211 171 170 = 118 = 191
getresgid32 - = 211 - = = 211 - 211 - = - = -
getresuid 118 = 165 148 = = 165 209 165 165 = 116 = 186
getresuid32 - = 209 - = = 209 - 209 - = - = -
getrlimit 97 = 76 163 = - - 191 76 76 = 95 = 76
get_robust_list 274 531 312 100 = = 339 305 = 299 = 269 273 310
getrusage 98 = 77 165 = = 77 77 = 77 = 96 = 77
getsid 124 = 147 156 = = 147 147 = 147 = 122 = 151
getsockname 51 = 367 204 = = 286 367 = 331 = 50 = 172
getsockopt 55 542 365 209 = = 295 365 = 340 = 54 = 173
get_thread_area 211 - 244 - = = - - = - = - = -
gettid 186 = 224 178 = = 224 236 = 207 = 178 = 222
gettimeofday 96 = 78 169 = = 78 78 = 78 = 94 = 78
get_tls - = - - = = 983046 - = - = - = -
getuid 102 = 24 174 = = 24 199 24 24 = 100 = 24
getuid32 - = 199 - = = 199 - 199 - = - = -
getxattr 191 = 229 8 = = 229 227 = 212 = 183 = 227
getxattrat 464
gtty - = 32 - = = - - = 32 = - = 32
idle - = 112 - = = - 112 = 112 = - = 112
init_module 175 = 128 105 = = 128 128 = 128 = 168 = 128
inotify_add_watch 254 = 292 27 = = 317 285 = 276 = 244 248 285
inotify_init 253 = 291 - = = 316 284 = 275 = 243 247 284
inotify_init1 294 = 332 26 = = 360 324 = 318 = 288 292 329
inotify_rm_watch 255 = 293 28 = = 318 286 = 277 = 245 249 286
io_cancel 210 = 249 3 = = 247 247 = 231 = 204 = 245
ioctl 16 514 54 29 = = 54 54 = 54 = 15 = 54
io_destroy 207 = 246 1 = = 244 244 = 228 = 201 = 242
io_getevents 208 = 247 4 = = 245 245 = 229 = 202 = 243
ioperm 173 = 101 - = = - - 101 101 = - = 101
io_pgetevents 333 = 385 292 = = 399 382 = 388 = 328 332 368
io_pgetevents_time64 - = 416 - = = 416 - 416 - 416 - 416 416
iopl 172 = 110 - = = - - = 110 = - = 110
ioprio_get 252 = 290 31 = = 315 283 = 274 = 274 278 315
ioprio_set 251 = 289 30 = = 314 282 = 273 = 273 277 314
io_setup 206 543 245 0 = = 243 243 = 227 = 200 = 241
io_submit 209 544 248 2 = = 246 246 = 230 = 203 = 244
io_uring_enter 426
io_uring_register 427
io_uring_setup 425
ipc - = 117 - = = - 117 = 117 = - = 117
kcmp 312 = 349 272 = = 378 343 = 354 = 306 311 347
kexec_file_load 320 = - 294 = = 401 381 = 382 = - = -
kexec_load 246 528 283 104 = = 347 277 = 268 = 270 274 311
keyctl 250 = 288 219 = = 311 280 = 271 = 241 245 282
kill 62 = 37 129 = = 37 37 = 37 = 60 = 37
landlock_add_rule 445
landlock_create_ruleset 444
landlock_restrict_self 446
lchown 94 = 16 - = = 16 198 16 16 = 92 = 16
lchown32 - = 198 - = = 198 - 198 - = - = -
lgetxattr 192 = 230 9 = = 230 228 = 213 = 184 = 228
link 86 = 9 - = = 9 9 = 9 = 84 = 9
linkat 265 = 303 37 = = 330 296 = 294 = 255 259 296
listen 50 = 363 201 = = 284 363 = 329 = 49 = 174
listmount 458
listns 470 = 470 470 = = 470 470 - 470 = 470 = 470
listxattr 194 = 232 11 = = 232 230 = 215 = 186 = 230
listxattrat 465
llistxattr 195 = 233 12 = = 233 231 = 216 = 187 = 231
_llseek - = 140 - = = 140 - 140 140 = - = 140
lock - = 53 - = = - - = 53 = - = 53
lookup_dcookie 212 = 253 18 = = 249 110 = 235 = 206 = 247
lremovexattr 198 = 236 15 = = 236 234 = 219 = 190 = 234
lseek 8 = 19 62 = = 19 19 = 19 = 8 = 19
lsetxattr 189 = 227 6 = = 227 225 = 210 = 181 = 225
lsm_get_self_attr 459
lsm_list_modules 461
lsm_set_self_attr 460
lstat 6 = 107 - = = 107 107 = 107 = 6 = 107
lstat64 - = 196 - = = 196 - 196 - 196 - = 214
madvise 28 = 219 233 = = 220 219 = 205 = 27 = 218
map_shadow_stack 453
mbind 237 = 274 235 = = 319 268 = 259 = 227 231 268
membarrier 324 = 375 283 = = 389 356 = 365 = 318 322 358
memfd_create 319 = 356 279 = = 385 350 = 360 = 314 318 354
memfd_secret 447 = 447 447 = - - 447 = - = - = -
migrate_pages 256 = 294 238 = = 400 287 = 258 = 246 250 287
mincore 27 = 218 232 = = 219 218 = 206 = 26 = 217
mkdir 83 = 39 - = = 39 39 = 39 = 81 = 39
mkdirat 258 = 296 34 = = 323 289 = 287 = 248 252 289
mknod 133 = 14 - = = 14 14 = 14 = 131 = 14
mknodat 259 = 297 33 = = 324 290 = 288 = 249 253 290
mlock 149 = 150 228 = = 150 150 = 150 = 146 = 154
mlock2 325 = 376 284 = = 390 374 = 378 = 319 323 359
mlockall 151 = 152 230 = = 152 152 = 152 = 148 = 156
mmap 9 = 90 222 = = - 90 = 90 = 9 = 90
mmap2 - = 192 - = = 192 - 192 - 192 - = 210
modify_ldt 154 = 123 - = = - - = 123 = - = 123
mount 165 = 21 40 = = 21 21 = 21 = 160 = 21
mount_setattr 442
move_mount 429
move_pages 279 533 317 239 = = 344 310 = 301 = 267 271 308
mprotect 10 = 125 226 = = 125 125 = 125 = 10 = 125
mpx - = 56 - = = - - = 56 = - = 56
mq_getsetattr 245 = 282 185 = = 279 276 = 267 = 235 239 276
mq_notify 244 527 281 184 = = 278 275 = 266 = 234 238 275
mq_open 240 = 277 180 = = 274 271 = 262 = 230 234 271
mq_timedreceive 243 = 280 183 = = 277 274 = 265 = 233 237 274
mq_timedreceive_time64 - = 419 - = = 419 - 419 - 419 - 419 419
mq_timedsend 242 = 279 182 = = 276 273 = 264 = 232 236 273
mq_timedsend_time64 - = 418 - = = 418 - 418 - 418 - 418 418
mq_unlink 241 = 278 181 = = 275 272 = 263 = 231 235 272
mremap 25 = 163 216 = = 163 163 = 163 = 24 = 167
mseal 462
msgctl 71 = 402 187 = = 304 402 = 402 = 69 = 402
msgget 68 = 399 186 = = 303 399 = 399 = 66 = 399
msgrcv 70 = 401 188 = = 302 401 = 401 = 68 = 401
msgsnd 69 = 400 189 = = 301 400 = 400 = 67 = 400
msync 26 = 144 227 = = 144 144 = 144 = 25 = 144
multiplexer - = - - = = - - = 201 = - = -
munlock 150 = 151 229 = = 151 151 = 151 = 147 = 155
munlockall 152 = 153 231 = = 153 153 = 153 = 149 = 157
munmap 11 = 91 215 = = 91 91 = 91 = 11 = 91
name_to_handle_at 303 = 341 264 = = 370 335 = 345 = 298 303 339
nanosleep 35 = 162 101 = = 162 162 = 162 = 34 = 166
newfstatat 262 = - 79 = = - 293 - 291 - 252 256 -
_newselect - = 142 - = = 142 - 142 142 = 22 = 142
nfsservctl 180 - 169 42 = = 169 169 = 168 = 173 = 189
nice - = 34 - = = 34 34 = 34 = - = 34
oldfstat - = 28 - = = - - = 28 = - = -
oldlstat - = 84 - = = - - = 84 = - = -
oldolduname - = 59 - = = - - = 59 = - = -
oldstat - = 18 - = = - - = 18 = - = -
olduname - = 109 - = = - - = 109 = - = -
open 2 = 5 - = = 5 5 = 5 = 2 = 5
openat 257 = 295 56 = = 322 288 = 286 = 247 251 288
openat2 437
open_by_handle_at 304 = 342 265 = = 371 336 = 346 = 299 304 340
open_tree 428
open_tree_attr 467
pause 34 = 29 - = = 29 29 = 29 = 33 = 29
pciconfig_iobase - = - - = = 271 - = 200 = - = -
pciconfig_read - = - - = = 272 - = 198 = - = -
pciconfig_write - = - - = = 273 - = 199 = - = -
perf_event_open 298 = 336 241 = = 364 331 = 319 = 292 296 333
personality 135 = 136 92 = = 136 136 = 136 = 132 = 136
pidfd_getfd 438
pidfd_open 434
pidfd_send_signal 424
pipe 22 = 42 - = = 42 42 = 42 = 21 = 42
pipe2 293 = 331 59 = = 359 325 = 317 = 287 291 328
pivot_root 155 = 217 41 = = 218 217 = 203 = 151 = 216
pkey_alloc 330 = 381 289 = = 395 385 = 384 = 324 328 364
pkey_free 331 = 382 290 = = 396 386 = 385 = 325 329 365
pkey_mprotect 329 = 380 288 = = 394 384 = 386 = 323 327 363
poll 7 = 168 - = = 168 168 = 167 = 7 = 188
ppoll 271 = 309 73 = = 336 302 = 281 = 261 265 302
ppoll_time64 - = 414 - = = 414 - 414 - 414 - 414 414
prctl 157 = 172 167 = = 172 172 = 171 = 153 = 192
pread64 17 = 180 67 = = 180 180 = 179 = 16 = 200
preadv 295 534 333 69 = = 361 328 = 320 = 289 293 330
preadv2 327 546 378 286 = = 392 376 = 380 = 321 325 361
prlimit64 302 = 340 261 = = 369 334 = 325 = 297 302 338
process_madvise 440
process_mrelease 448
process_vm_readv 310 539 347 270 = = 376 340 = 351 = 304 309 345
process_vm_writev 311 540 348 271 = = 377 341 = 352 = 305 310 346
prof - = 44 - = = - - = 44 = - = 44
profil - = 98 - = = - - = 98 = - = 98
pselect6 270 = 308 72 = = 335 301 = 280 = 260 264 301
pselect6_time64 - = 413 - = = 413 - 413 - 413 - 413 413
ptrace 101 521 26 117 = = 26 26 = 26 = 99 = 26
putpmsg 182 = 189 - = = - 189 = 188 = 175 = 209
pwrite64 18 = 181 68 = = 181 181 = 180 = 17 = 201
pwritev 296 535 334 70 = = 362 329 = 321 = 290 294 331
pwritev2 328 547 379 287 = = 393 377 = 381 = 322 326 362
query_module 178 - 167 - = = - 167 = 166 = 171 = 187
quotactl 179 = 131 60 = = 131 131 = 131 = 172 = 131
quotactl_fd 443
read 0 = 3 63 = = 3 3 = 3 = 0 = 3
readahead 187 = 225 213 = = 225 222 = 191 = 179 = 223
readdir - = 89 - = = - 89 = 89 = - = 89
readlink 89 = 85 - = = 85 85 = 85 = 87 = 85
readlinkat 267 = 305 78 = = 332 298 = 296 = 257 261 298
readv 19 515 145 65 = = 145 145 = 145 = 18 = 145
reboot 169 = 88 142 = = 88 88 = 88 = 164 = 88
recv - = - - = = 291 - = 336 = - = 175
recvfrom 45 517 371 207 = = 292 371 = 337 = 44 = 176
recvmmsg 299 537 337 243 = = 365 357 = 343 = 294 298 335
recvmmsg_time64 - = 417 - = = 417 - 417 - 417 - 417 417
recvmsg 47 519 372 212 = = 297 372 = 342 = 46 = 177
remap_file_pages 216 = 257 234 = = 253 267 = 239 = 210 = 251
removexattr 197 = 235 14 = = 235 233 = 218 = 189 = 233
removexattrat 466
rename 82 = 38 - = = 38 38 = 38 = 80 = 38
renameat 264 = 302 38 - - 329 295 = 293 = 254 258 295
renameat2 316 = 353 276 = = 382 347 = 357 = 311 315 351
request_key 249 = 287 218 = = 310 279 = 270 = 240 244 281
restart_syscall 219 = 0 128 = = 0 7 = 0 = 213 214 253
riscv_flush_icache - = - - 259 = - - = - = - = -
riscv_hwprobe - = - - 258 = - - = - = - = -
rmdir 84 = 40 - = = 40 40 = 40 = 82 = 40
rseq 334 = 386 293 = = 398 383 = 387 = 327 331 367
rseq_slice_yield 471 = 471 471 = = 471 471 - 471 = 471 = 471
rtas - = - - = = - - = 255 = - = -
rt_sigaction 13 512 174 134 = = 174 174 = 173 = 13 = 194
rt_sigpending 127 522 176 136 = = 176 176 = 175 = 125 = 196
rt_sigprocmask 14 = 175 135 = = 175 175 = 174 = 14 = 195
rt_sigqueueinfo 129 524 178 138 = = 178 178 = 177 = 127 = 198
rt_sigreturn 15 513 173 139 = = 173 173 = 172 = 211 = 193
rt_sigsuspend 130 = 179 133 = = 179 179 = 178 = 128 = 199
rt_sigtimedwait 128 523 177 137 = = 177 177 = 176 = 126 = 197
rt_sigtimedwait_time64 - = 421 - = = 421 - 421 - 421 - 421 421
rt_tgsigqueueinfo 297 536 335 240 = = 363 330 = 322 = 291 295 332
s390_guarded_storage - = - - = = - 378 = - = - = -
s390_pci_mmio_read - = - - = = - 353 = - = - = -
s390_pci_mmio_write - = - - = = - 352 = - = - = -
s390_runtime_instr - = - - = = - 342 = - = - = -
s390_sthyi - = - - = = - 380 = - = - = -
sched_getaffinity 204 = 242 123 = = 242 240 = 223 = 196 = 240
sched_getattr 315 = 352 275 = = 381 346 = 356 = 310 314 350
sched_getparam 143 = 155 121 = = 155 155 = 155 = 140 = 159
sched_get_priority_max 146 = 159 125 = = 159 159 = 159 = 143 = 163
sched_get_priority_min 147 = 160 126 = = 160 160 = 160 = 144 = 164
sched_getscheduler 145 = 157 120 = = 157 157 = 157 = 142 = 161
sched_rr_get_interval 148 = 161 127 = = 161 161 = 161 = 145 = 165
sched_rr_get_interval_time64 - = 423 - = = 423 - 423 - 423 - 423 423
sched_setaffinity 203 = 241 122 = = 241 239 = 222 = 195 = 239
sched_setattr 314 = 351 274 = = 380 345 = 355 = 309 313 349
sched_setparam 142 = 154 118 = = 154 154 = 154 = 139 = 158
sched_setscheduler 144 = 156 119 = = 156 156 = 156 = 141 = 160
sched_yield 24 = 158 124 = = 158 158 = 158 = 23 = 162
seccomp 317 = 354 277 = = 383 348 = 358 = 312 316 352
security 185 = - - = = - - = - = - = -
select 23 = 82 - = = - 142 - 82 = - = -
semctl 66 = 394 191 = = 300 394 = 394 = 64 = 394
semget 64 = 393 190 = = 299 393 = 393 = 62 = 393
semop 65 = - 193 = = 298 - = - = 63 = -
semtimedop 220 = - 192 = = 312 392 - 392 - 214 215 -
semtimedop_time64 - = 420 - = = 420 - 420 - 420 - 420 420
send - = - - = = 289 - = 334 = - = 178
sendfile 40 = 187 71 = = 187 187 = 186 = 39 = 207
sendfile64 - = 239 - = = 239 - 223 - 226 - 219 237
sendmmsg 307 538 345 269 = = 374 358 = 349 = 302 307 343
sendmsg 46 518 370 211 = = 296 370 = 341 = 45 = 179
sendto 44 = 369 206 = = 290 369 = 335 = 43 = 180
setdomainname 171 = 121 162 = = 121 121 = 121 = 166 = 121
setfsgid 123 = 139 152 = = 139 216 139 139 = 121 = 139
setfsgid32 - = 216 - = = 216 - 216 - = - = -
setfsuid 122 = 138 151 = = 138 215 138 138 = 120 = 138
setfsuid32 - = 215 - = = 215 - 215 - = - = -
setgid 106 = 46 144 = = 46 214 46 46 = 104 = 46
setgid32 - = 214 - = = 214 - 214 - = - = -
setgroups 116 = 81 159 = = 81 206 81 81 = 114 = 81
setgroups32 - = 206 - = = 206 - 206 - = - = -
sethostname 170 = 74 161 = = 74 74 = 74 = 165 = 74
setitimer 38 = 104 103 = = 104 104 = 104 = 36 = 104
set_mempolicy 238 = 276 237 = = 321 270 = 261 = 229 233 270
set_mempolicy_home_node 450
setns 308 = 346 268 = = 375 339 = 350 = 303 308 344
setpgid 109 = 57 154 = = 57 57 = 57 = 107 = 57
setpriority 141 = 97 140 = = 97 97 = 97 = 138 = 97
setregid 114 = 71 143 = = 71 204 71 71 = 112 = 71
setregid32 - = 204 - = = 204 - 204 - = - = -
setresgid 119 = 170 149 = = 170 210 170 169 = 117 = 190
setresgid32 - = 210 - = = 210 - 210 - = - = -
setresuid 117 = 164 147 = = 164 208 164 164 = 115 = 185
setresuid32 - = 208 - = = 208 - 208 - = - = -
setreuid 113 = 70 145 = = 70 203 70 70 = 111 = 70
setreuid32 - = 203 - = = 203 - 203 - = - = -
setrlimit 160 = 75 164 = - 75 75 = 75 = 155 = 75
set_robust_list 273 530 311 99 = = 338 304 = 300 = 268 272 309
setsid 112 = 66 157 = = 66 66 = 66 = 110 = 66
setsockopt 54 541 366 208 = = 294 366 = 339 = 53 = 181
set_thread_area 205 - 243 - = = - - = - = 242 246 283
set_tid_address 218 = 258 96 = = 256 252 = 232 = 212 213 252
settimeofday 164 = 79 170 = = 79 79 = 79 = 159 = 79
set_tls - = - - = = 983045 - = - = - = -
setuid 105 = 23 146 = = 23 213 23 23 = 103 = 23
setuid32 - = 213 - = = 213 - 213 - = - = -
setxattr 188 = 226 5 = = 226 224 = 209 = 180 = 224
setxattrat 463
sgetmask - = 68 - = = - - = 68 = - = 68
shmat 30 = 397 196 = = 305 397 = 397 = 29 = 397
shmctl 31 = 396 195 = = 308 396 = 396 = 30 = 396
shmdt 67 = 398 197 = = 306 398 = 398 = 65 = 398
shmget 29 = 395 194 = = 307 395 = 395 = 28 = 395
shutdown 48 = 373 210 = = 293 373 = 338 = 47 = 182
sigaction - = 67 - = = 67 67 = 67 = - = 67
sigaltstack 131 525 186 132 = = 186 186 = 185 = 129 = 206
signal - = 48 - = = - 48 = 48 = - = 48
signalfd 282 = 321 - = = 349 316 = 305 = 276 280 317
signalfd4 289 = 327 74 = = 355 322 = 313 = 283 287 324
sigpending - = 73 - = = 73 73 = 73 = - = 73
sigprocmask - = 126 - = = 126 126 = 126 = - = 126
sigreturn - = 119 - = = 119 119 = 119 = - = 119
sigsuspend - = 72 - = = 72 72 = 72 = - = 72
socket 41 = 359 198 = = 281 359 = 326 = 40 = 183
socketcall - = 102 - = = - 102 = 102 = - = 102
socketpair 53 = 360 199 = = 288 360 = 333 = 52 = 184
splice 275 = 313 76 = = 340 306 = 283 = 263 267 304
spu_create - = - - = = - - = 279 = - = -
spu_run - = - - = = - - = 278 = - = -
ssetmask - = 69 - = = - - = 69 = - = 69
stat 4 = 106 - = = 106 106 = 106 = 4 = 106
stat64 - = 195 - = = 195 - 195 - 195 - = 213
statfs 137 = 99 43 = = 99 99 = 99 = 134 = 99
statfs64 - = 268 - = = 266 265 = 252 = - 217 255
statmount 457
statx 332 = 383 291 = = 397 379 = 383 = 326 330 366
stime - = 25 - = = - - 25 25 = - = 25
stty - = 31 - = = - - = 31 = - = 31
subpage_prot - = - - = = - - = 310 = - = -
swapcontext - = - - = = - - = 249 = - = -
swapoff 168 = 115 225 = = 115 115 = 115 = 163 = 115
swapon 167 = 87 224 = = 87 87 = 87 = 162 = 87
switch_endian - = - - = = - - = 363 = - = -
symlink 88 = 83 - = = 83 83 = 83 = 86 = 83
symlinkat 266 = 304 36 = = 331 297 = 295 = 256 260 297
sync 162 = 36 81 = = 36 36 = 36 = 157 = 36
sync_file_range 277 = 314 84 = = - 307 = - = 264 268 305
sync_file_range2 - = - - = = - - = 308 = - = -
syncfs 306 = 344 267 = = 373 338 = 348 = 301 306 342
syscall - = - - = = - - = - = - = 0
_sysctl 156 - 149 - = = 149 149 = 149 = 152 = 153
sys_debug_setcontext - = - - = = - - = 256 = - = -
sysfs 139 = 135 - = = 135 135 = 135 = 136 = 135
sysinfo 99 = 116 179 = = 116 116 = 116 = 97 = 116
syslog 103 = 103 116 = = 103 103 = 103 = 101 = 103
sysmips - = - - = = - - = - = 199 = 149
tee 276 = 315 77 = = 342 308 = 284 = 265 269 306
tgkill 234 = 270 131 = = 268 241 = 250 = 225 229 266
time 201 = 13 - = = - - 13 13 = - = 13
timer_create 222 526 259 107 = = 257 254 = 240 = 216 220 257
timer_delete 226 = 263 111 = = 261 258 = 244 = 220 224 261
timerfd - = - - = = - 317 = - = 277 281 318
timerfd_create 283 = 322 85 = = 350 319 = 306 = 280 284 321
timerfd_gettime 287 = 326 87 = = 354 321 = 312 = 281 285 322
timerfd_gettime64 - = 410 - = = 410 - 410 - 410 - 410 410
timerfd_settime 286 = 325 86 = = 353 320 = 311 = 282 286 323
timerfd_settime64 - = 411 - = = 411 - 411 - 411 - 411 411
timer_getoverrun 225 = 262 109 = = 260 257 = 243 = 219 223 260
timer_gettime 224 = 261 108 = = 259 256 = 242 = 218 222 259
timer_gettime64 - = 408 - = = 408 - 408 - 408 - 408 408
timer_settime 223 = 260 110 = = 258 255 = 241 = 217 221 258
timer_settime64 - = 409 - = = 409 - 409 - 409 - 409 409
times 100 = 43 153 = = 43 43 = 43 = 98 = 43
tkill 200 = 238 130 = = 238 237 = 208 = 192 = 236
truncate 76 = 92 45 = = 92 92 = 92 = 74 = 92
truncate64 - = 193 - = = 193 - 193 - 193 - = 211
tuxcall 184 = - - = = - - = 225 = - = -
ugetrlimit - = 191 - = = 191 - 191 190 = - = -
ulimit - = 58 - = = - - = 58 = - = 58
umask 95 = 60 166 = = 60 60 = 60 = 93 = 60
umount - = 22 - = = - 22 = 22 = - = 22
umount2 166 = 52 39 = = 52 52 = 52 = 161 = 52
uname 63 = 122 160 = = 122 122 = 122 = 61 = 122
unlink 87 = 10 - = = 10 10 = 10 = 85 = 10
unlinkat 263 = 301 35 = = 328 294 = 292 = 253 257 294
unshare 272 = 310 97 = = 337 303 = 282 = 262 266 303
uprobe 336 = - - = = - - = - = - = -
uretprobe 335 = - - = = - - = - = - = -
uselib 134 - 86 - = = 86 86 = 86 = - = 86
userfaultfd 323 = 374 282 = = 388 355 = 364 = 317 321 357
usr26 - = - - = = 983043 - = - = - = -
usr32 - = - - = = 983044 - = - = - = -
ustat 136 = 62 - = = 62 62 = 62 = 133 = 62
utime 132 = 30 - = = - 30 = 30 = 130 = 30
utimensat 280 = 320 88 = = 348 315 = 304 = 275 279 316
utimensat_time64 - = 412 - = = 412 - 412 - 412 - 412 412
utimes 235 = 271 - = = 269 313 = 251 = 226 230 267
vfork 58 = 190 - = = 190 190 = 189 = - = -
vhangup 153 = 111 58 = = 111 111 = 111 = 150 = 111
vm86 - = 166 - = = - - = 113 = - = 113
vm86old - = 113 - = = - - = - = - = -
vmsplice 278 532 316 75 = = 343 309 = 285 = 266 270 307
vserver 236 - 273 - = = 313 - = - = 236 240 277
wait4 61 = 114 260 = = 114 114 = 114 = 59 = 114
waitid 247 529 284 95 = = 280 281 = 272 = 237 241 278
waitpid - = 7 - = = - - = 7 = - = 7
write 1 = 4 64 = = 4 4 = 4 = 1 = 4
writev 20 516 146 66 = = 146 146 = 146 = 19 = 146
`
  .trim()
  .split('\n');
