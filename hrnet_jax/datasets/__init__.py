"""Where people come from: COCO, detector files, made-up people; all end as the same records."""
