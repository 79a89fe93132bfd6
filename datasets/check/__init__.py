"""What of a data root is there, missing, wrong or short, and which protocols can run on it.

``part`` (what is said of one split), ``imagenet``, ``voc``, ``coco`` (how it is found out), ``protocols`` (official
counts, who needs what), ``report`` (for people and for programs).
"""
