"""``clsa-ap``: COCO's average precision, AP_S first, of any detector's result files, and how sure a difference is."""
