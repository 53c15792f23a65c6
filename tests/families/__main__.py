import sys, time, traceback, multiprocessing, torch, transformers
torch.set_num_threads(1)
from tests.families import toys, reading
def run(f, conn):
    try:
        for r in reading.results_of(f): conn.send(r)
    except BaseException as e:
        conn.send("UNBUILT %s %s"%(type(e).__name__, str(e).replace("\n"," ")[:250]))
    conn.close()
only=sys.argv[1:] or toys.families()
for f in only:
    t=time.time(); c=time.process_time()
    a,b=multiprocessing.Pipe()
    p=multiprocessing.get_context("fork").Process(target=run,args=(f,b)); p.start(); b.close()
    out=[]
    try:
        while a.poll(150): out.append(a.recv())
        out.append("TIMEOUT"); p.kill()
    except EOFError: pass
    p.join()
    for r in out:
        print(f, r if isinstance(r,str) else (r.precision,r.method,r.outcome,r.reason[:230],*(None if x is None else float("%.2g"%x) for x in (r.log_prob,r.mismatched,r.gradient,r.in_bf16))), flush=True)
    print("   %.1f s, exit %s"%(time.time()-t,p.exitcode), flush=True)
