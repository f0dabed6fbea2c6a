// SPDX-License-Identifier: GPL-2.0-only
/*
 * The door to user space: /dev/page_alloc_bench, as page_alloc_bench.h says.
 */
#include <linux/capability.h>
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "session.h"
#include "worker.h"

/* One session at a time: two would measure each other. */
static atomic_t pab_open_sessions = ATOMIC_INIT(0);

static int pab_open(struct inode *inode, struct file *file)
{
	struct pab_session *session;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (atomic_cmpxchg(&pab_open_sessions, 0, 1))
		return -EBUSY;
	session = pab_session_create();
	if (!session) {
		atomic_set(&pab_open_sessions, 0);
		return -ENOMEM;
	}
	file->private_data = session;
	return nonseekable_open(inode, file);
}

static int pab_release(struct inode *inode, struct file *file)
{
	pab_session_destroy(file->private_data);
	atomic_set(&pab_open_sessions, 0);
	return 0;
}

static long pab_info(void __user *argument)
{
	const struct pab_info info = {
		.abi_version	= PAB_ABI_VERSION,
		.page_shift	= PAGE_SHIFT,
		.max_order	= PAB_MAX_ORDER,
		.pattern_count	= PAB_PATTERN_COUNT,
		.hist_buckets	= PAB_HIST_BUCKETS,
		.hist_sub_bits	= PAB_HIST_SUB_BITS,
	};

	return copy_to_user(argument, &info, sizeof(info)) ? -EFAULT : 0;
}

static long pab_configure(struct pab_session *session, void __user *argument)
{
	struct pab_config config;

	if (copy_from_user(&config, argument, sizeof(config)))
		return -EFAULT;
	return pab_session_configure(session, &config);
}

static long pab_progress(struct pab_session *session, void __user *argument)
{
	struct pab_progress progress;

	pab_session_progress(session, &progress);
	return copy_to_user(argument, &progress, sizeof(progress)) ? -EFAULT : 0;
}

static long pab_cpu_stats(struct pab_session *session, void __user *argument)
{
	const struct pab_worker *worker;
	struct pab_cpu_stats stats;

	if (copy_from_user(&stats, argument, sizeof(stats)))
		return -EFAULT;
	worker = pab_session_worker(session, stats.cpu);
	if (!worker || stats.reserved)
		return -EINVAL;

	stats = (struct pab_cpu_stats) {
		.cpu		= worker->cpu,
		.node		= worker->node,
		.last_cpu	= READ_ONCE(worker->last_cpu),
		.steady		= READ_ONCE(worker->steady),
		.displaced	= READ_ONCE(worker->displaced),
		/* Pairs with the worker's release: never more frees than allocs. */
		.frees		= smp_load_acquire(&worker->frees),
		.failures	= READ_ONCE(worker->failures),
		.remote		= READ_ONCE(worker->remote),
		.clock_cost_ps	= READ_ONCE(worker->clock_cost_ps),
		.clock_step_ns	= READ_ONCE(worker->clock_step_ns),
	};
	stats.allocs = READ_ONCE(worker->allocs);
	return copy_to_user(argument, &stats, sizeof(stats)) ? -EFAULT : 0;
}

static long pab_latency(struct pab_session *session, void __user *argument)
{
	const struct pab_latencies *latencies;
	const struct pab_worker *worker;
	struct pab_latency request;

	if (session->state == PAB_STATE_RUNNING)
		return -EBADFD;
	if (copy_from_user(&request, argument, sizeof(request)))
		return -EFAULT;
	worker = pab_session_worker(session, request.cpu);
	if (!worker || request.class >= PAB_LATENCY_CLASSES || request.reserved)
		return -EINVAL;
	latencies = &worker->latencies[request.class];
	if (request.sample_size < latencies->sample_capacity)
		return -EINVAL;

	request.timed = latencies->timed;
	request.total_ns = latencies->total_ns;
	request.max_ns = latencies->max_ns;
	request.sample_size = latencies->sample_size;
	if (copy_to_user(u64_to_user_ptr(request.histogram), latencies->histogram,
			 sizeof(latencies->histogram)) ||
	    copy_to_user(u64_to_user_ptr(request.sample), latencies->sample,
			 latencies->sample_size * sizeof(u64)) ||
	    copy_to_user(argument, &request, sizeof(request)))
		return -EFAULT;
	return 0;
}

static long pab_dispatch(struct pab_session *session, unsigned int request,
			 void __user *argument)
{
	switch (request) {
	case PAB_IOC_INFO:
		return pab_info(argument);
	case PAB_IOC_CONFIGURE:
		return pab_configure(session, argument);
	case PAB_IOC_START:
		return pab_session_start(session);
	case PAB_IOC_STOP:
		return pab_session_stop(session);
	case PAB_IOC_WATCH_OOM:
		return pab_session_watch_oom(session);
	case PAB_IOC_PROGRESS:
		return pab_progress(session, argument);
	case PAB_IOC_CPU_STATS:
		return pab_cpu_stats(session, argument);
	case PAB_IOC_LATENCY:
		return pab_latency(session, argument);
	default:
		return -ENOTTY;
	}
}

static long pab_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	struct pab_session *session = file->private_data;
	long ret;

	/* Whoever has a descriptor need not be who opened the file. */
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (mutex_lock_killable(&session->lock))
		return -EINTR;
	ret = pab_dispatch(session, request, (void __user *)argument);
	mutex_unlock(&session->lock);
	return ret;
}

static const struct file_operations pab_fops = {
	.owner		= THIS_MODULE,
	.open		= pab_open,
	.release	= pab_release,
	.unlocked_ioctl	= pab_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice pab_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= PAB_DEVICE_NAME,
	.mode	= 0600,
	.fops	= &pab_fops,
};

static int __init pab_init(void)
{
	return misc_register(&pab_device);
}

/*
 * A session holds a reference to the module, so normally there is none here. But
 * "rmmod -f", where the kernel has CONFIG_MODULE_FORCE_UNLOAD, comes here in
 * spite of it, and the module's code is gone when this returns: wait for the
 * session to end. It goes on undisturbed, and no other can begin.
 */
static void __exit pab_exit(void)
{
	misc_deregister(&pab_device);
#ifdef CONFIG_MODULE_UNLOAD
	while (module_refcount(THIS_MODULE) > 0)
		schedule_timeout_idle(HZ / 20);
	/* Whoever put the last reference may still be in module_put(). */
	synchronize_rcu();
#endif
}

module_init(pab_init);
module_exit(pab_exit);

MODULE_DESCRIPTION("Page allocator benchmark: kernel workers that allocate and free pages");
MODULE_LICENSE("GPL");
